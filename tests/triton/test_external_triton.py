"""A Triton that the gateway did not start: the tensors travel in the messages, model control wants its key."""

import os
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from exchange.label_space import NUM_CLASSES
from server.triton.assembly import connect_external
from server.triton.installation import find_installation
from server.triton.process import TritonProcess
from server.triton.shared_memory import RegionOwner
from server.triton.versions import VersionLoadFailed

RATIO = np.linspace(-1, 1, NUM_CLASSES, dtype=np.float32)


@dataclass
class Elsewhere:
    process: TritonProcess
    repository_dir: Path


@pytest_asyncio.fixture
async def elsewhere(tmp_path: Path) -> AsyncIterator[Elsewhere]:
    """A tritonserver that somebody else runs, over a repository folder that both see."""
    (tmp_path / "repository" / "models").mkdir(parents=True)
    (tmp_path / "run").mkdir()
    regions = RegionOwner()
    models_dir = tmp_path / "repository" / "models"
    process = TritonProcess(find_installation(), tmp_path / "run", models_dir, regions)
    await process.start()
    yield Elsewhere(process, tmp_path / "repository")
    await process.close()
    await process.connection.close()
    regions.close()


async def test_it_serves_adds_and_comes_back_after_its_own_restart(
    elsewhere: Elsewhere, make_release: Callable, random_frame: Callable, until: Callable
) -> None:
    release, second = make_release(), make_release(shift=40)
    frame_HW3 = random_frame(release.frame_size)
    process = elsewhere.process
    triton = await connect_external(
        process.target, elsewhere.repository_dir, release.path, threads=1, access=process.access
    )
    await triton.versions.load(2, second.path)
    for version, expected in ((1, release), (2, second)):
        output = await triton.segmenter.infer(version, frame_HW3, RATIO, (60, 100))
        direct = expected.run_engine(frame_HW3, RATIO, (60, 100))
        np.testing.assert_array_equal(output.labels_HW, direct["LABEL"])
        np.testing.assert_array_equal(output.confidence_HW, direct["CONFIDENCE"])
        np.testing.assert_array_equal(output.presence_K, direct["PRESENCE"])
        np.testing.assert_array_equal(output.mean_probability_K, direct["MEAN_PROBABILITY"])
    assert triton.process is None

    os.kill(process.pid, signal.SIGKILL)
    await until(lambda: not triton.segmenter.ready_versions)
    await process.kill()
    await process.start()
    await until(lambda: list(triton.segmenter.ready_versions) == [1, 2])

    output = await triton.segmenter.infer(2, frame_HW3, RATIO, (60, 100))
    np.testing.assert_array_equal(output.labels_HW, second.expected_labels(frame_HW3, RATIO))
    await triton.close()


async def test_without_the_key_nothing_can_be_loaded(elsewhere: Elsewhere, make_release: Callable) -> None:
    with pytest.raises(VersionLoadFailed, match="This protocol is restricted"):
        await connect_external(elsewhere.process.target, elsewhere.repository_dir, make_release().path)
