"""Admission: bounds, turns, refusals, deadlines and draining."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from server.admission import Admission
from server.errors import (
    DeadlinePassed,
    DeadlineTooNear,
    Draining,
    Overtaken,
    QueueFull,
    ServingError,
    VehicleShareUsed,
)


class Engine:
    """Work that ends when told to; remembers what started, in order."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}

    def work(self, name: str) -> Callable[[], Coroutine[Any, Any, str]]:
        async def run() -> str:
            self.started.append(name)
            self._ends[name] = asyncio.Event()
            await self._ends[name].wait()
            return name

        return run

    async def finish(self, name: str) -> None:
        self._ends[name].set()
        await settle()


async def settle() -> None:
    """Lets every task that can go on do so."""
    for _ in range(10):
        await asyncio.sleep(0)


@asynccontextmanager
async def busy(admission: Admission, engine: Engine) -> AsyncIterator[None]:
    """One frame occupies the only place in flight."""
    task = asyncio.create_task(admission.run(engine.work("busy"), vehicle="other"))
    await settle()
    yield
    assert await task == "busy"


async def start(admission: Admission, engine: Engine, name: str, **options: Any) -> asyncio.Task[str]:
    task = asyncio.create_task(admission.run(engine.work(name), **{"vehicle": name[0], **options}))
    await settle()
    return task


@pytest.fixture
def engine() -> Engine:
    return Engine()


def small(queued: int = 16, queued_per_vehicle: int = 8) -> Admission:
    return Admission(in_flight=1, queued=queued, queued_per_vehicle=queued_per_vehicle)


async def test_what_does_not_fit_is_refused_at_once_with_a_hint(engine: Engine) -> None:
    admission = small(queued=2)
    async with busy(admission, engine):
        tasks = [await start(admission, engine, name) for name in ("a", "b")]
        with pytest.raises(QueueFull, match="2 frames wait already") as refusal:
            await admission.run(engine.work("c"), vehicle="c")
        assert refusal.value.retry_after_s is not None
        assert 0 < refusal.value.retry_after_s <= 5
        for name in ("busy", "a", "b"):
            await engine.finish(name)
        assert [await task for task in tasks] == ["a", "b"]


async def test_vehicles_take_turns_and_the_newest_frame_of_each_goes_first(engine: Engine) -> None:
    admission = small()
    async with busy(admission, engine):
        tasks = [await start(admission, engine, name) for name in ("a1", "a2", "a3", "b1", "b2")]
        for _ in range(6):
            await engine.finish(engine.started[-1])
        assert engine.started == ["busy", "a3", "b2", "a1", "b1", "a2"]
        await asyncio.gather(*tasks)


async def test_a_frame_is_overtaken_at_most_once_however_fast_its_vehicle_sends(engine: Engine) -> None:
    admission = small(queued_per_vehicle=2, queued=8)
    tasks = []
    async with busy(admission, engine):
        for turn in range(6):
            while admission.queued < 2:
                tasks.append(await start(admission, engine, f"a{len(tasks)}"))
            await engine.finish(engine.started[-1])
            assert len(engine.started) == turn + 2
        waits = [engine.started.index(f"a{n}") - n for n in range(5)]
        assert max(waits) <= 2
        while admission.in_flight:
            await engine.finish(engine.started[-1])
        await asyncio.gather(*tasks)


async def test_from_half_full_on_each_vehicle_waits_with_one_frame(engine: Engine) -> None:
    admission = small(queued=4, queued_per_vehicle=2)
    async with busy(admission, engine):
        tasks = [await start(admission, engine, name) for name in ("a1", "a2")]
        with pytest.raises(VehicleShareUsed):
            await admission.run(engine.work("a3"), vehicle="a")
        tasks.append(await start(admission, engine, "b1"))
        with pytest.raises(VehicleShareUsed):
            await admission.run(engine.work("b2"), vehicle="b")
        tasks.append(await start(admission, engine, "c1"))
        for _ in range(5):
            await engine.finish(engine.started[-1])
        await asyncio.gather(*tasks)


async def test_work_whose_deadline_passes_while_it_waits_is_never_started(engine: Engine) -> None:
    admission = small()
    now = asyncio.get_running_loop().time
    async with busy(admission, engine):
        with pytest.raises(DeadlinePassed, match="while the frame waited"):
            await admission.run(engine.work("late"), vehicle="a", deadline=now() + 0.02)
        with pytest.raises(DeadlinePassed, match="when the frame arrived"):
            await admission.run(engine.work("late"), vehicle="a", deadline=now())
        assert admission.queued == 0
        await engine.finish("busy")
    assert engine.started == ["busy"]


async def test_a_frame_that_would_be_answered_too_late_is_refused_when_its_turn_comes(engine: Engine) -> None:
    admission = Admission(in_flight=2, queued=4, queued_per_vehicle=2)
    now = asyncio.get_running_loop().time
    frame_s = 0.2
    for _ in range(5):  # each takes so long
        await admission.run(lambda: asyncio.sleep(frame_s), vehicle="a")
    running = await start(admission, engine, "a1")
    with pytest.raises(DeadlineTooNear, match="1 frames in flight") as refusal:
        await admission.run(engine.work("late"), vehicle="b", deadline=now() + frame_s)
    assert refusal.value.retry_after_s is not None
    others = [await start(admission, engine, name, deadline=now() + 60) for name in ("b1", "c1")]
    waiting = await start(admission, engine, "d1", deadline=now() + frame_s)
    await engine.finish("a1")  # c1's turn
    await engine.finish("b1")  # d1's turn, behind c1
    with pytest.raises(DeadlineTooNear):
        await waiting
    await engine.finish("c1")
    assert [await task for task in (running, *others)] == ["a1", "b1", "c1"]
    alone = await start(admission, engine, "e1", deadline=now() + frame_s / 4)  # nothing is before it: tried
    await engine.finish("e1")
    assert await alone == "e1"
    assert engine.started == ["a1", "b1", "c1", "e1"]


async def test_a_caller_that_gives_up_frees_its_place_in_the_queue_but_not_in_the_engine(engine: Engine) -> None:
    admission = small()
    running = await start(admission, engine, "a1")
    waiting = await start(admission, engine, "a2")
    running.cancel()
    waiting.cancel()
    await settle()
    assert running.cancelled()
    assert waiting.cancelled()
    assert (admission.in_flight, admission.queued) == (1, 0)
    await engine.finish("a1")
    assert (admission.in_flight, engine.started) == (0, ["a1"])


async def test_a_newer_frame_of_a_latest_wins_stream_replaces_the_one_that_waits(engine: Engine) -> None:
    admission = small(queued=2, queued_per_vehicle=1)
    async with busy(admission, engine):
        old = await start(admission, engine, "a1", latest_of="stream")
        other = await start(admission, engine, "b1")
        new = await start(admission, engine, "a2", latest_of="stream")
        with pytest.raises(Overtaken):
            await old
        for _ in range(3):
            await engine.finish(engine.started[-1])
        assert (await new, await other) == ("a2", "b1")


async def test_a_newer_frame_takes_over_the_place_even_where_its_vehicle_has_used_its_share(engine: Engine) -> None:
    admission = small(queued=4, queued_per_vehicle=2)
    async with busy(admission, engine):
        tasks = [await start(admission, engine, "a1", latest_of="stream"), await start(admission, engine, "a2")]
        newer = await start(admission, engine, "a3", latest_of="stream")
        assert admission.queued == 2
        with pytest.raises(Overtaken):
            await tasks[0]
        for _ in range(3):
            await engine.finish(engine.started[-1])
        assert (await newer, await tasks[1]) == ("a3", "a2")


async def test_draining_answers_what_was_admitted_and_refuses_the_rest(engine: Engine) -> None:
    admission = small()
    running, waiting = await start(admission, engine, "a1"), await start(admission, engine, "b1")
    admission.drain()
    with pytest.raises(Draining):
        await admission.run(engine.work("c1"), vehicle="c")
    idle = asyncio.create_task(admission.idle())
    await engine.finish("a1")
    assert not idle.done()
    await engine.finish("b1")
    await idle
    assert (await running, await waiting) == ("a1", "b1")


async def test_failed_work_fails_its_caller_and_frees_the_place() -> None:
    admission = small()

    async def broken() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await admission.run(broken, vehicle="a")
    await settle()
    assert admission.in_flight == 0


@pytest.mark.parametrize("seed", range(10))
async def test_under_random_load_the_bounds_hold_and_every_frame_has_one_outcome(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311
    admission = Admission(in_flight=3, queued=6, queued_per_vehicle=2)
    most_running = running = 0

    async def work() -> None:
        nonlocal most_running, running
        running += 1
        most_running = max(most_running, running)
        for _ in range(rng.randrange(4)):
            await asyncio.sleep(0)
        running -= 1
        if rng.random() < 0.1:
            raise ValueError("broken")

    async def frame() -> str:
        now = asyncio.get_running_loop().time()
        try:
            await admission.run(
                work,
                vehicle=rng.choice("abcdefgh"),
                deadline=rng.choice([None, now, now + 0.001]),
                latest_of=rng.choice([None, "stream"]),
            )
        except (ServingError, ValueError) as error:
            return type(error).__name__
        return "answered"

    tasks = []
    for _ in range(400):
        tasks.append(asyncio.create_task(frame()))
        if rng.random() < 0.1:
            rng.choice(tasks).cancel()
        if rng.random() < 0.5:
            await asyncio.sleep(0)
        assert admission.queued <= 6
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    await admission.idle()
    assert most_running <= 3
    assert (admission.in_flight, admission.queued) == (0, 0)
    kinds = {outcome if isinstance(outcome, str) else type(outcome).__name__ for outcome in outcomes}
    assert {"answered"} <= kinds <= {
        "answered", "QueueFull", "VehicleShareUsed", "DeadlinePassed", "DeadlineTooNear",
        "Overtaken", "ValueError", "CancelledError",
    }  # fmt: skip
