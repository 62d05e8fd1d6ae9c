"""kill -9 of what computes, under load: noticed at once, repaired by itself, and no frame without an answer.

Every version has two processes.
"""

import os
import signal
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from server.errors import Overloaded, Unavailable
from server.triton.assembly import Triton, start_embedded
from server.triton.shared_memory import FAMILY, SHM_DIR
from server.triton.stubs import find_stubs
from server.triton.watch import LONGEST_SILENCE_S, PROBE_SHARE, longest_silence_s

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def release(make_release: Callable) -> Any:
    return make_release()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def triton(release: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Triton]:
    """Serves the release as version 1."""
    served = await start_embedded(release.path, run_dir=tmp_path_factory.mktemp("triton"), threads=2, frames_at_once=2)
    yield served
    await served.close()
    assert not list(SHM_DIR.glob(f"{FAMILY}{os.getpid()}-*"))


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def second_version(triton: Triton, release: Any) -> None:
    """The release once more, as version 2."""
    await triton.versions.load(2, release.path)


def pids_of_version(triton: Triton, version: int) -> tuple[int, int]:
    first, second = sorted(stub.pid for stub in find_stubs(triton.process.pid) if stub.version == version)
    return first, second


def assert_no_region_is_left(triton: Triton) -> None:
    regions = {path.name for path in SHM_DIR.glob(f"{FAMILY}{os.getpid()}-*-stub-*")}
    assert regions == {stub.region for stub in find_stubs(triton.process.pid)}


@pytest.mark.usefixtures("second_version")
@pytest.mark.parametrize("victim", ["first stub", "second stub", "server"])
async def test_killed_under_load_it_is_noticed_repaired_and_no_frame_is_lost(
    triton: Triton,
    release: Any,
    random_frame: Callable,
    frames_flowing: Callable,
    until: Callable,
    victim: str,
) -> None:
    segmenter, restarts = triton.segmenter, triton.segmenter.restarts
    frames = [random_frame(release.frame_size) for _ in range(4)]
    async with frames_flowing(triton, 1, frames) as answers:
        await until(lambda: len(answers) > 8)
        pids = {"server": triton.process.pid}
        pids["first stub"], pids["second stub"] = pids_of_version(triton, 1)
        os.kill(pids[victim], signal.SIGKILL)
        await until(lambda: 1 not in segmenter.ready_versions)
        await until(lambda: 1 in segmenter.ready_versions)
        count = len(answers)
        await until(lambda: any(isinstance(answer, np.ndarray) for _, answer in answers[count:]))

    refused = [answer for _, answer in answers if isinstance(answer, Exception)]
    assert refused
    assert all(isinstance(error, Unavailable | Overloaded) and error.retry_after_s for error in refused)
    for index, answer in answers:
        if isinstance(answer, np.ndarray):
            np.testing.assert_array_equal(answer, release.expected_labels(frames[index], np.zeros(19, np.float32)))
    await until(lambda: 2 in segmenter.ready_versions)
    assert segmenter.restarts == restarts + 1
    assert not {pids["first stub"], pids["second stub"]} & set(pids_of_version(triton, 1))
    assert_no_region_is_left(triton)


@pytest.mark.usefixtures("second_version")
async def test_a_version_that_nobody_uses_is_noticed_and_repaired_too(
    triton: Triton, release: Any, random_frame: Callable, until: Callable
) -> None:
    """No probe would find out in time: version 1 is in use, so that 2 is on standby and seldom probed."""
    await triton.segmenter.infer(1, random_frame(release.frame_size), np.zeros(19, np.float32), release.frame_size)
    os.kill(pids_of_version(triton, 2)[0], signal.SIGKILL)

    await until(lambda: 2 not in triton.segmenter.ready_versions)
    assert 1 in triton.segmenter.ready_versions
    await until(lambda: 2 in triton.segmenter.ready_versions)
    assert_no_region_is_left(triton)


@pytest.mark.usefixtures("second_version")
async def test_a_version_that_cannot_be_brought_back_keeps_no_other_down(
    triton: Triton, make_release: Callable, until: Callable
) -> None:
    await triton.versions.load(3, make_release(shift=3).path)
    engine = triton.process.models_dir / "segmenter" / "3" / "engine" / "model.xml"
    engine.unlink()

    os.kill(triton.process.pid, signal.SIGKILL)
    await until(lambda: not triton.segmenter.ready_versions)

    await until(lambda: {1, 2} <= triton.segmenter.ready_versions.keys())
    assert triton.versions.loaded.numbers() == [1, 2, 3]
    await triton.versions.drop(3)
    assert list(triton.segmenter.ready_versions) == [1, 2]


@pytest.mark.parametrize("proof_s", [0.001, 0.1, 0.4, 30.0])
async def test_probes_take_a_small_share_of_an_idle_engines_time(proof_s: float) -> None:
    silence_s = longest_silence_s(proof_s, standby=False)
    assert 1.0 <= silence_s <= LONGEST_SILENCE_S
    assert proof_s / silence_s <= PROBE_SHARE or silence_s == LONGEST_SILENCE_S
    assert longest_silence_s(proof_s, standby=True) == LONGEST_SILENCE_S
