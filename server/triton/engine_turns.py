"""Whose turn it is on the machine's cores: one frame has all of them, or two have half of them each.

Two frames side by side on half the cores each are answered sooner than one after the other on all of them, and a frame
behind which nobody waits is answered soonest on all of them. So one that finds the cores free begins at once: alone,
or on half of them where others are on their way. Those that come while one is alone wait; two of them or more begin
side by side, and whoever ends makes room for the next, so that halves follow halves for as long as somebody waits. The
line is of all versions: their processes share the cores.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from exchange.registry.releases import Manifest
from exchange.usable_cpus import usable_cpus

OVERDUE_AFTER = 5.0
SHORTEST_OVERDUE_S = 1.0
"""A turn that lasts so many times as long as they use to, and this long, keeps nobody waiting any more: it hangs."""
_SMOOTHING = 0.2
"""Weight of the latest turn in the running mean of how long they last."""
_FIRST_GUESS_S = 6.0


@dataclass(eq=False)
class Turn:
    """One frame's."""

    end: Callable[[], None]
    """The cores do no more for it, or need not begin. A second call does nothing."""
    alone: asyncio.Future[bool] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """Whether the frame has all cores, told when it may go to the engine; cancelled where the turn ended before."""
    begun_s: float = math.inf
    """In the event loop's time."""

    def running_s(self) -> float:
        """For how long it has had the engine; 0 while it waits, and when it has ended."""
        return max(0.0, asyncio.get_running_loop().time() - self.begun_s)


class EngineTurns:
    """The line in front of the engines of one machine, first come first served. Belongs to one event loop.

    With one frame at once each is told at once that it goes alone, and waits in Triton: on the cores there is nothing
    to choose, and the engine is not kept waiting for the way there and back.
    """

    def __init__(self, at_once: int) -> None:
        """
        Args:
            at_once: 1 or 2 frames side by side.
        """
        self._at_once = at_once
        self._waiting: deque[Turn] = deque()
        self._running: dict[Turn, asyncio.TimerHandle] = {}
        self._alone = True
        """Whether the one that runs has all cores."""
        self._usual_s = _FIRST_GUESS_S
        self._expected = 0

    @contextmanager
    def expecting(self) -> Iterator[None]:
        """While one is on its way, nobody begins alone."""
        self._expected += 1
        try:
            yield
        finally:
            self._expected -= 1

    def join(self) -> Turn:
        turn = Turn(end=lambda: self._end(turn))
        if self._at_once == 1:
            turn.alone.set_result(True)
        self._waiting.append(turn)
        self._begin()
        return turn

    def _begin(self) -> None:
        """Every turn that may begin now does."""
        if not self._running:
            self._alone = self._at_once == 1 or (len(self._waiting) == 1 and not self._expected)
        places = 1 if self._alone else self._at_once
        while self._waiting and len(self._running) < places:
            self._start(self._waiting.popleft())

    def _start(self, turn: Turn) -> None:
        loop = asyncio.get_running_loop()
        turn.begun_s = loop.time()
        overdue_s = max(SHORTEST_OVERDUE_S, OVERDUE_AFTER * self._usual_s)
        self._running[turn] = loop.call_later(overdue_s, self._make_room, turn)
        if not turn.alone.done():
            turn.alone.set_result(self._alone)

    def _end(self, turn: Turn) -> None:
        if turn in self._waiting:
            self._waiting.remove(turn)
            turn.alone.cancel()
        elif turn.begun_s < math.inf:
            self._usual_s += _SMOOTHING * (turn.running_s() - self._usual_s)
            turn.begun_s = math.inf
            self._make_room(turn)

    def _make_room(self, turn: Turn) -> None:
        """Where it has not, being overdue."""
        if turn in self._running:
            self._running.pop(turn).cancel()
            self._begin()


def best_at_once(manifest: Manifest, threads: int = 0) -> int:
    """How many frames side by side answer most: 2 where a release computes on several cores by OpenVINO, else 1.

    Args:
        threads: cores for one inference alone; 0 means all that this process may use.
    """
    cores = threads or usable_cpus()
    return 2 if manifest.engine == "openvino" and cores >= 2 else 1
