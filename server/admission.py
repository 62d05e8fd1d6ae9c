"""Which frames are worked on, which wait, and which are refused at once.

A late answer is worthless to a vehicle, so the queue is short. Vehicles take turns; within one vehicle the newest
frame goes first, but each frame is overtaken at most once, so that none starves behind a vehicle that sends too fast.
A newcomer is refused rather than an old frame thrown out: whoever is refused learns it at once. A frame that cannot be
answered by its deadline any more, behind those in flight, is refused too: the engine would label it in vain.
"""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from server.errors import (
    DeadlinePassed,
    DeadlineTooNear,
    Draining,
    Overtaken,
    QueueFull,
    ServingError,
    VehicleShareUsed,
)

T = TypeVar("T")
Work = Callable[[], Coroutine[Any, Any, Any]]

_SMOOTHING = 0.2
"""Weight of the latest frame in the running mean of the time that each frame takes."""
_LONGEST_HINT_S = 5.0
_DRAIN_AT_LEAST_S = 30.0


@dataclass(eq=False)
class _Waiting:
    work: Work
    vehicle: str
    deadline: float | None
    stream: Hashable | None
    started: asyncio.Future[asyncio.Task[Any]]
    was_overtaken: bool = False


class Admission:
    """Bounds the frames in flight (decoded, inferred, encoded) and those that wait. Belongs to one event loop."""

    def __init__(self, *, in_flight: int, queued: int, queued_per_vehicle: int) -> None:
        self._max_in_flight = in_flight
        self._max_queued = queued
        self._max_queued_per_vehicle = queued_per_vehicle
        self._vehicles: dict[str, list[_Waiting]] = {}  # in the order of their turns; each the oldest frame first
        self._running: set[asyncio.Task[Any]] = set()
        self._frame_s = 0.1
        """What each frame adds to the wait of the next: its time in flight, shared among those in flight."""
        self._idle = asyncio.Event()
        self._idle.set()
        self.draining = asyncio.Event()
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def in_flight(self) -> int:
        return len(self._running)

    @property
    def queued(self) -> int:
        return sum(len(frames) for frames in self._vehicles.values())

    async def run(
        self,
        work: Callable[[], Coroutine[Any, Any, T]],
        *,
        vehicle: str,
        deadline: float | None = None,
        latest_of: Hashable | None = None,
    ) -> T:
        """Runs the work when its turn comes, and returns what it returns.

        Once started the work runs to its end, even when the caller is cancelled: an engine cannot be interrupted, and
        its place is only free when it is.

        Args:
            deadline: in the loop's time; work whose deadline has passed is not started.
            latest_of: a stream; frames of the same stream that still wait give way to this one.

        Raises:
            QueueFull, VehicleShareUsed: refused at once.
            Overtaken: a later frame with the same `latest_of` came while this one waited.
            DeadlinePassed: the deadline passed before the turn came.
            DeadlineTooNear: the turn came, but the frames in flight leave no time to answer by the deadline.
            Draining: `drain` was called before this frame came, or `finish` gave up before it was done.
        """
        loop = asyncio.get_running_loop()
        if self.draining.is_set():
            raise Draining("this gateway is shutting down: send the frame to another one")
        if deadline is not None and deadline <= loop.time():
            raise DeadlinePassed("the deadline had passed when the frame arrived")
        took_over = self._overtake(vehicle, latest_of)
        if self.in_flight < self._max_in_flight:
            if self._is_too_near(deadline):
                raise self._deadline_too_near()
            task: asyncio.Task[T] = self._start(work)
        else:
            if not took_over:
                self._refuse_if_full(vehicle)
            task = await self._wait(_Waiting(work, vehicle, deadline, latest_of, loop.create_future()), deadline)
        outcomes: list[asyncio.Future[Any]] = [task, self._ended]
        await asyncio.wait(outcomes, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise _ended_early()
        return task.result()

    def drain(self) -> None:
        """Refuses every frame that comes from now on; those that wait or run are finished."""
        self.draining.set()

    async def finish(self, longest_s: float) -> None:
        """After `drain`: waits while the frames take no longer than they may, then refuses the rest.

        The engine may still be busy with those.
        """
        now = asyncio.get_running_loop().time
        started = now()
        while not self._idle.is_set():
            needed_s = self._frame_s * (self.queued + self.in_flight)  # by what the frames before took
            left_s = started + min(longest_s, max(_DRAIN_AT_LEAST_S, 3 * needed_s)) - now()
            if left_s <= 0:
                break
            with suppress(TimeoutError):
                await asyncio.wait_for(self.idle(), min(1.0, left_s))
        for waiting in [frame for frames in self._vehicles.values() for frame in frames]:
            self._give_up(waiting, _ended_early())
        if not self._ended.done():
            self._ended.set_result(None)

    async def idle(self) -> None:
        """Returns when nothing waits or runs."""
        await self._idle.wait()

    def _refuse_if_full(self, vehicle: str) -> None:
        queued = self.queued
        hint_s = min(_LONGEST_HINT_S, self._frame_s * (queued + 1))
        if queued >= self._max_queued:
            raise QueueFull(f"{queued} frames wait already: send a newer frame later", retry_after_s=hint_s)
        # From half full on, a vehicle may have one frame waiting, which leaves room for the others.
        share = self._max_queued_per_vehicle if queued < self._max_queued / 2 else 1
        if len(self._vehicles.get(vehicle, ())) >= share:
            message = f"{share} frames of this vehicle wait already: send a newer frame later"
            raise VehicleShareUsed(message, retry_after_s=hint_s)

    def _is_too_near(self, deadline: float | None) -> bool:
        if deadline is None or not self._running:  # with nothing before it a frame is tried: that is how time is told
            return False
        return asyncio.get_running_loop().time() + self._frame_s * (self.in_flight + 1) > deadline

    def _deadline_too_near(self) -> DeadlineTooNear:
        message = f"{self.in_flight} frames in flight leave no time to answer by the deadline: send a newer frame later"
        return DeadlineTooNear(message, retry_after_s=min(_LONGEST_HINT_S, self._frame_s * self.in_flight))

    async def _wait(self, waiting: _Waiting, deadline: float | None) -> asyncio.Task[Any]:
        self._vehicles.setdefault(waiting.vehicle, []).append(waiting)
        alarm = None
        if deadline is not None:
            passed = DeadlinePassed("the deadline passed while the frame waited")
            alarm = asyncio.get_running_loop().call_at(deadline, self._give_up, waiting, passed)
        try:
            return await waiting.started
        finally:
            if alarm is not None:
                alarm.cancel()
            self._leave(waiting)  # where the caller was cancelled

    def _overtake(self, vehicle: str, stream: Hashable | None) -> bool:
        """Drops the stream's frames that wait, and says whether that left a place."""
        overtaken = [
            frame for frame in self._vehicles.get(vehicle, ()) if stream is not None and frame.stream == stream
        ]
        for waiting in overtaken:
            self._give_up(waiting, Overtaken("a newer frame of this stream came"))
        return bool(overtaken)

    def _give_up(self, waiting: _Waiting, error: ServingError) -> None:
        self._leave(waiting)
        if not waiting.started.done():
            waiting.started.set_exception(error)

    def _leave(self, waiting: _Waiting) -> None:
        frames = self._vehicles.get(waiting.vehicle, [])
        if waiting in frames:
            frames.remove(waiting)
            if not frames:
                del self._vehicles[waiting.vehicle]

    def _start_waiting(self) -> None:
        while self._vehicles and self.in_flight < self._max_in_flight:
            vehicle = next(iter(self._vehicles))
            frames = self._vehicles.pop(vehicle)
            chosen = frames.pop(0 if frames[0].was_overtaken else -1)
            for older in frames:
                older.was_overtaken = True
            if frames:
                self._vehicles[vehicle] = frames  # its next turn comes after everyone else's
            if self._is_too_near(chosen.deadline):
                self._give_up(chosen, self._deadline_too_near())
            elif not chosen.started.done():
                chosen.started.set_result(self._start(chosen.work))

    def _start(self, work: Work) -> asyncio.Task[Any]:
        task = asyncio.create_task(self._timed(work))
        self._running.add(task)
        self._idle.clear()
        task.add_done_callback(self._finished)
        return task

    async def _timed(self, work: Work) -> Any:
        loop = asyncio.get_running_loop()
        started, sharing = loop.time(), self.in_flight
        outcome = await work()
        self._frame_s += _SMOOTHING * ((loop.time() - started) / sharing - self._frame_s)
        return outcome

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # for the caller; where the caller has gone, for nobody
        self._start_waiting()
        if not self._running:
            self._idle.set()


def _ended_early() -> Draining:
    return Draining("this gateway stopped before the frame was answered: send it to another one")
