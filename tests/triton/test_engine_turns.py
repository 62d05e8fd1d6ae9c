"""Who has the cores: alone where nobody waits, in pairs where somebody does, never more than there are."""

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from exchange.registry.releases import read_manifest
from server.triton.engine_turns import SHORTEST_OVERDUE_S, EngineTurns, Turn, best_at_once

ALONE, BESIDE = True, False


@dataclass
class Frames:
    """Joins frames by name, and says who has which part of the cores."""

    turns: EngineTurns
    of: dict[str, Turn] = field(default_factory=dict)

    def join(self, *names: str) -> dict[str, bool]:
        for name in names:
            self.of[name] = self.turns.join()
        return self.running()

    def end(self, *names: str) -> dict[str, bool]:
        for name in names:
            self.of.pop(name).end()
        return self.running()

    def running(self) -> dict[str, bool]:
        return {name: turn.alone.result() for name, turn in self.of.items() if turn.alone.done()}


@pytest.fixture
async def frames() -> Frames:
    return Frames(EngineTurns(2))


async def test_a_frame_behind_which_nobody_waits_has_all_cores(frames: Frames) -> None:
    for name in "abc":
        assert frames.join(name) == {name: ALONE}
        assert frames.end(name) == {}


async def test_one_that_waits_goes_alone_and_two_go_together(frames: Frames) -> None:
    frames.join("a")
    assert frames.join("b") == {"a": ALONE}
    assert frames.end("a") == {"b": ALONE}
    assert frames.join("c", "d", "e") == {"b": ALONE}
    assert frames.end("b") == {"c": BESIDE, "d": BESIDE}
    assert frames.end("d") == {"c": BESIDE, "e": BESIDE}


async def test_beside_one_of_a_pair_the_next_begins_when_it_comes(frames: Frames) -> None:
    frames.join("a", "b", "c")
    frames.end("a")
    assert frames.end("b") == {"c": BESIDE}
    assert frames.join("d") == {"c": BESIDE, "d": BESIDE}
    assert frames.join("e") == {"c": BESIDE, "d": BESIDE}
    assert frames.end("c") == {"d": BESIDE, "e": BESIDE}
    assert frames.end("d", "e") == {}
    assert frames.join("f") == {"f": ALONE}


async def test_one_that_comes_while_another_is_on_its_way_leaves_it_half(frames: Frames) -> None:
    with frames.turns.expecting(), frames.turns.expecting():
        assert frames.join("a") == {"a": BESIDE}
    assert frames.join("b") == {"a": BESIDE, "b": BESIDE}
    frames.end("a", "b")
    assert frames.join("c") == {"c": ALONE}


async def test_whoever_leaves_the_line_begins_never_and_keeps_nobody(frames: Frames) -> None:
    frames.join("a", "b", "c")
    left = frames.of["b"]
    assert frames.end("b") == {"a": ALONE}
    assert left.alone.cancelled()
    assert frames.end("a") == {"c": ALONE}
    left.end()  # once more
    assert frames.running() == {"c": ALONE}


async def test_what_hangs_keeps_nobody_waiting_and_is_seen() -> None:
    turns = EngineTurns(2)
    for _ in range(20):  # turns are short
        turns.join().end()
    hangs, next_one = turns.join(), turns.join()
    assert await next_one.alone is ALONE
    assert hangs.running_s() >= SHORTEST_OVERDUE_S > next_one.running_s()
    hangs.end()
    assert hangs.running_s() == 0.0
    assert turns.join().running_s() == 0.0  # it waits behind the one that has all cores
    next_one.end()


async def test_one_at_once_goes_to_triton_at_once_and_is_timed_from_its_turn() -> None:
    turns = EngineTurns(1)
    first, second = turns.join(), turns.join()
    assert first.alone.result() is second.alone.result() is ALONE
    await asyncio.sleep(0.01)
    assert first.running_s() > second.running_s() == 0.0
    first.end()
    await asyncio.sleep(0.01)
    assert second.running_s() > 0.0


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_comes_and_goes_cores_suffice_none_idles_and_the_order_is_kept(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311
    turns = EngineTurns(2)
    present: list[Turn] = []
    for _ in range(1000):
        if rng.random() < 0.5:
            present.append(turns.join())
        elif present:
            present.pop(rng.randrange(len(present))).end()
        running = [turn for turn in present if turn.alone.done()]
        assert running == present[: len(running)]
        cores = [2 if turn.alone.result() is ALONE else 1 for turn in running]
        assert sum(cores) == 2 or len(running) == len(present) <= 1


@pytest.mark.parametrize(("engine", "threads", "expected"), [("openvino", 2, 2), ("openvino", 1, 1), ("torch", 8, 1)])
def test_what_suits_a_release(make_release: Any, engine: str, threads: int, expected: int) -> None:
    assert best_at_once(read_manifest(make_release(engine=engine).path), threads) == expected
