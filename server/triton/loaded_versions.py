"""What is known of each version that Triton should serve: whether it works, and when it was last heard of."""

import asyncio
import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from exchange.registry.releases import Manifest
from server.triton.engine_turns import Turn
from server.triton.tensors import Size
from server.triton.transport import Inference

IN_USE_FOR_S = 10.0
"""After its last frame a version counts as in use for so long."""

log = logging.getLogger(__name__)


@dataclass
class LoadedVersion:
    number: int
    manifest: Manifest
    heard_s: float = field(default_factory=time.monotonic)
    """When it last answered, or got something to do after a rest; on the monotonic clock."""
    proof_s: float = 0.0
    """How long its last proof took."""
    used_s: float = float("-inf")
    """When a frame was last sent to it; probes do not count."""
    in_flight: dict[Inference, Turn] = field(default_factory=dict)
    down: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """Done while it does not work; a new one when it works again."""

    @property
    def frame_size(self) -> Size:
        return self.manifest.frame_size

    def silent_s(self) -> float:
        return time.monotonic() - self.heard_s

    def is_in_use(self) -> bool:
        return time.monotonic() - self.used_s < IN_USE_FOR_S

    def longest_s(self) -> float:
        """For how long the engine has worked on one frame by now, at most; 0 without one."""
        return max((turn.running_s() for turn in self.in_flight.values()), default=0.0)

    def forgive(self, seconds: float) -> None:
        """Counts so much less against it: this process stood still, and could not have heard of it."""
        self.heard_s += seconds
        for turn in self.in_flight.values():
            turn.begun_s += seconds

    def start(self, inference: Inference, turn: Turn) -> Inference:
        """Counts an inference as in flight until it ends, and its turn with it."""
        if not self.in_flight:
            self.heard_s = time.monotonic()
        self.in_flight[inference] = turn
        inference.add_done_callback(lambda _: turn.end())
        inference.add_done_callback(self._finish)
        return inference

    def _finish(self, inference: Inference) -> None:
        self.in_flight.pop(inference, None)
        if not inference.cancelled() and inference.exception() is None:
            self.heard_s = time.monotonic()

    @property
    def ready(self) -> bool:
        return not self.down.done()


class LoadedVersions:
    """The versions by number. `ready` is replaced, never changed, so that it can be read at every frame."""

    def __init__(self) -> None:
        self._versions: dict[int, LoadedVersion] = {}
        self.ready: Mapping[int, Size] = {}
        self.some_down = asyncio.Event()

    def __contains__(self, number: object) -> bool:
        return number in self._versions

    def __getitem__(self, number: int) -> LoadedVersion:
        return self._versions[number]

    def numbers(self) -> list[int]:
        return sorted(self._versions)

    def down(self) -> list[LoadedVersion]:
        """Those that do not work, the one that was used last first: it is the one that is missed."""
        down = [version for version in self._versions.values() if not version.ready]
        return sorted(down, key=lambda version: version.used_s, reverse=True)

    def up(self) -> list[LoadedVersion]:
        """Those that work, as far as is known."""
        return [version for version in self._versions.values() if version.ready]

    def frame_sizes(self) -> set[Size]:
        return {version.frame_size for version in self._versions.values()}

    def add(self, version: LoadedVersion) -> None:
        self._versions[version.number] = version
        self._update()

    def remove(self, number: int) -> None:
        del self._versions[number]
        self._update()

    def mark_up(self, version: LoadedVersion) -> None:
        """For who has proved it after it went down: a late answer of a process that died since proves nothing."""
        log.info("version %d answers again", version.number)
        version.down = asyncio.get_running_loop().create_future()
        version.in_flight = {}  # what the dead one was given says nothing about this one
        self._update()

    def mark_down(self, version: LoadedVersion, reason: str) -> None:
        if version.ready:
            log.error("version %d stopped answering: %s", version.number, reason)
            version.down.set_result(None)
            for turn in reversed(list(version.in_flight.values())):  # nobody waits for what is dead; the last first,
                turn.end()  # so that none of them begins by the end of another
            self._update()
        self.some_down.set()

    def mark_all_down(self, reason: str, *, except_for: Collection[int] = ()) -> None:
        for number, version in self._versions.items():
            if number not in except_for:
                self.mark_down(version, reason)

    def _update(self) -> None:
        ready = (version for _, version in sorted(self._versions.items()) if version.ready)
        self.ready = {version.number: version.frame_size for version in ready}
