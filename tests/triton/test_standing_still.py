"""A process that was stopped for a while holds its own silence against nobody."""

import asyncio
import math
from pathlib import Path

import pytest

from exchange.registry.releases import read_manifest
from server.triton.engine_turns import EngineTurns
from server.triton.loaded_versions import LoadedVersion
from tests.releases import make_release


async def test_what_passed_while_it_stood_still_is_forgiven(tmp_path: Path) -> None:
    turns, version = EngineTurns(2), LoadedVersion(1, read_manifest(make_release(tmp_path / "release")))
    frames = [asyncio.create_task(asyncio.Event().wait()) for _ in range(3)]
    running, beside, waiting = (turns.join() for _ in frames)
    for frame, turn in zip(frames, (running, beside, waiting), strict=True):
        version.start(frame, turn)
        turn.begun_s -= 31.0  # as after a stop
    version.heard_s -= 31.0
    assert version.longest_s() == pytest.approx(31.0, abs=1.0)
    version.forgive(31.0)
    assert version.longest_s() == pytest.approx(0.0, abs=1.0)
    assert version.silent_s() == pytest.approx(0.0, abs=1.0)
    assert [turn.begun_s == math.inf for turn in (running, beside, waiting)] == [False, True, True]
    for frame in frames:
        frame.cancel()
