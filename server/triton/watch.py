"""Probes every version that has been silent, and has those brought back that do not work, with growing pauses."""

import asyncio
import contextlib
import logging
import time

from server.triton.loaded_versions import LoadedVersion
from server.triton.versions import TritonVersions

PROBE_AFTER_S = 1.0
TICK_S = 0.2
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 5.0
"""Between one repair and the next of a row; the first of a row starts at once."""
ROW_ENDS_AFTER_S = 60.0

log = logging.getLogger(__name__)


class Watch:
    """Two tasks from `start` to `close`; neither ends by itself."""

    def __init__(self, versions: TritonVersions) -> None:
        self._versions = versions
        self._tasks: list[asyncio.Task[None]] = []
        self._probes: dict[int, asyncio.Task[None]] = {}

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._probe_the_silent()), asyncio.create_task(self._repair_the_dead())]

    async def close(self) -> None:
        tasks = [*self._tasks, *self._probes.values()]
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _probe_the_silent(self) -> None:
        while True:
            for version in self._versions.loaded.not_heard_for(PROBE_AFTER_S):
                self._probe(version)
            await asyncio.sleep(TICK_S)

    def _probe(self, version: LoadedVersion) -> None:
        if version.number not in self._probes:
            task = self._probes[version.number] = asyncio.create_task(self._versions.probe(version))
            task.add_done_callback(lambda _: self._probes.pop(version.number))

    async def _repair_the_dead(self) -> None:
        in_a_row, last_s = 0, float("-inf")
        loaded = self._versions.loaded
        while True:
            await loaded.some_down.wait()
            loaded.some_down.clear()
            in_a_row = in_a_row + 1 if time.monotonic() - last_s < ROW_ENDS_AFTER_S else 0
            if in_a_row:
                await asyncio.sleep(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (in_a_row - 1)))
            try:
                await self._versions.bring_back()
            except Exception as error:  # whatever it is, another attempt is the only way out
                log.error("repair %d in a row failed: %s", in_a_row + 1, error)
                loaded.some_down.set()
            last_s = time.monotonic()
