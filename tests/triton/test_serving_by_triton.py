"""A real tritonserver serves tiny releases through shared memory: right, bounded, and while its versions change."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from exchange.label_space import NUM_CLASSES
from server.errors import Overloaded, VersionUnavailable
from server.triton.assembly import Triton, start_embedded
from server.triton.shared_memory import FAMILY, SHM_DIR
from server.triton.stubs import Stub, find_stubs
from server.triton.tensors import ALONE, inputs_of, new_request
from server.triton.versions import VersionLoadFailed

NO_ADJUSTMENT = np.zeros(NUM_CLASSES, np.float32)
SIZE = (64, 128)

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def release(make_release: Callable) -> Any:
    return make_release()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def triton(release: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Triton]:
    """Serves the release as version 1; a test that adds versions drops them."""
    served = await start_embedded(
        release.path, run_dir=tmp_path_factory.mktemp("triton"), threads=2, frames_at_once=2, frames_in_flight=16
    )
    yield served
    await served.close()
    assert not list(SHM_DIR.glob(f"{FAMILY}{os.getpid()}-*"))


def stubs_of_version_1(triton: Triton) -> list[Stub]:
    return [stub for stub in find_stubs(triton.process.pid) if stub.version == 1]


async def test_labels_through_triton_equal_the_engine_run_directly(
    triton: Triton, release: Any, random_frame: Callable
) -> None:
    frame_HW3 = random_frame(SIZE)
    log_prior_ratio_K = np.linspace(-1, 1, NUM_CLASSES, dtype=np.float32)
    expected = release.run_engine(frame_HW3, log_prior_ratio_K, (50, 100))

    output = await triton.segmenter.infer(1, frame_HW3, log_prior_ratio_K, (50, 100))

    np.testing.assert_array_equal(output.labels_HW, expected["LABEL"])
    np.testing.assert_array_equal(output.labels_HW, release.expected_labels(frame_HW3, log_prior_ratio_K))
    np.testing.assert_array_equal(output.confidence_HW, expected["CONFIDENCE"])
    np.testing.assert_array_equal(output.presence_K, expected["PRESENCE"])
    np.testing.assert_array_equal(output.mean_probability_K, expected["MEAN_PROBABILITY"])


async def test_all_cores_and_half_of_them_give_the_same_in_either_process(
    triton: Triton, random_frame: Callable
) -> None:
    """By Triton's own protocol: a client that knows nothing of the parameter gets all cores."""
    inputs = inputs_of(random_frame(SIZE), np.linspace(-1, 1, NUM_CLASSES, dtype=np.float32), (50, 100))
    requests = []
    for alone in (None, True, False):
        request = new_request(SIZE)
        request.raw_input_contents.extend(inputs[message.name].tobytes() for message in request.inputs)
        if alone is not None:
            request.parameters[ALONE].bool_param = alone
        requests += [request] * 4

    answers = await asyncio.gather(*map(triton.process.connection.infer, requests))

    assert len({b"".join(answer.raw_output_contents) for answer in answers}) == 1
    assert len(stubs_of_version_1(triton)) == 2


async def test_frames_in_flight_together_keep_their_own_labels(
    triton: Triton, release: Any, random_frame: Callable
) -> None:
    frames = [random_frame(SIZE) for _ in range(12)]

    outputs = await asyncio.gather(*(triton.segmenter.infer(1, frame, NO_ADJUSTMENT, SIZE) for frame in frames))

    for frame_HW3, output in zip(frames, outputs, strict=True):
        np.testing.assert_array_equal(output.labels_HW, release.expected_labels(frame_HW3, NO_ADJUSTMENT))


async def test_an_abandoned_frame_disturbs_no_other(triton: Triton, release: Any, random_frame: Callable) -> None:
    frames = [random_frame(SIZE) for _ in range(12)]
    tasks = [asyncio.create_task(triton.segmenter.infer(1, frame, NO_ADJUSTMENT, SIZE)) for frame in frames]
    await asyncio.sleep(0)  # lets each of them send its frame
    for task in tasks[::2]:
        task.cancel()

    for frame_HW3, task in zip(frames[1::2], tasks[1::2], strict=True):
        labels_HW = (await task).labels_HW
        np.testing.assert_array_equal(labels_HW, release.expected_labels(frame_HW3, NO_ADJUSTMENT))
    assert all(task.cancelled() for task in tasks[::2])


async def test_a_version_is_added_under_load_without_an_error_and_without_touching_the_others(
    triton: Triton,
    release: Any,
    make_release: Callable,
    random_frame: Callable,
    frames_flowing: Callable,
) -> None:
    second = make_release(shift=40)
    stubs = stubs_of_version_1(triton)
    frames = [random_frame(SIZE) for _ in range(4)]

    async with frames_flowing(triton, 1, frames) as answers:
        await triton.versions.load(2, second.path)
        await triton.versions.load(3, make_release(frame_size=(32, 64)).path)
        await triton.versions.drop(3)
        folder = triton.process.models_dir / "segmenter" / "2"
        names = {path.name for path in folder.rglob("*")}
        output = await triton.segmenter.infer(2, frames[0], NO_ADJUSTMENT, SIZE)
        await triton.versions.drop(2)

    assert len(answers) > 20
    for index, labels_HW in answers:
        np.testing.assert_array_equal(labels_HW, release.expected_labels(frames[index], NO_ADJUSTMENT))
    np.testing.assert_array_equal(output.labels_HW, second.expected_labels(frames[0], NO_ADJUSTMENT))
    assert stubs_of_version_1(triton) == stubs  # the same processes: it was never reloaded
    assert {name for name in names if name.endswith(".pyc")} == {f"model.{sys.implementation.cache_tag}.pyc"}
    assert not folder.exists()
    assert list(triton.segmenter.ready_versions) == [1]


async def test_a_broken_version_leaves_the_others_serving(
    triton: Triton,
    release: Any,
    make_release: Callable,
    random_frame: Callable,
    frames_flowing: Callable,
) -> None:
    frames = [random_frame(SIZE)]

    async with frames_flowing(triton, 1, frames) as answers:
        with pytest.raises(VersionLoadFailed, match=r"version 2 is at UNAVAILABLE .*Unable to read the model"):
            await triton.versions.load(2, make_release(broken=True).path)
        await triton.versions.load(2, make_release(shift=40).path)  # the number is free for a good one
        await triton.versions.drop(2)

    expected = release.expected_labels(frames[0], NO_ADJUSTMENT)
    for _, labels_HW in answers:
        np.testing.assert_array_equal(labels_HW, expected)


async def test_a_torch_release_serves_beside_an_openvino_one(
    triton: Triton, release: Any, make_release: Callable, random_frame: Callable
) -> None:
    frame_HW3 = random_frame(SIZE)
    log_prior_ratio_K = np.linspace(-1, 1, NUM_CLASSES, dtype=np.float32)
    await triton.versions.load(2, make_release(engine="torch").path)

    by_torch = await triton.segmenter.infer(2, frame_HW3, log_prior_ratio_K, (50, 100))
    by_openvino = await triton.segmenter.infer(1, frame_HW3, log_prior_ratio_K, (50, 100))

    np.testing.assert_array_equal(by_torch.labels_HW, release.expected_labels(frame_HW3, log_prior_ratio_K))
    np.testing.assert_allclose(by_torch.confidence_HW, by_openvino.confidence_HW, atol=1)
    np.testing.assert_allclose(by_torch.presence_K, by_openvino.presence_K, atol=1e-5)
    np.testing.assert_allclose(by_torch.mean_probability_K, by_openvino.mean_probability_K, atol=1e-6)
    await triton.versions.drop(2)


async def test_a_version_that_answers_nonsense_is_not_served(triton: Triton, make_release: Callable) -> None:
    with pytest.raises(VersionLoadFailed, match="version 2 answers nonsense"):
        await triton.versions.load(2, make_release(shift=float("nan")).path)

    assert triton.versions.loaded.numbers() == [1]


async def test_a_dropped_version_answers_no_more_and_the_last_one_stays(triton: Triton, make_release: Callable) -> None:
    for number in (2, 3):
        await triton.versions.load(number, make_release(shift=number).path)

    await triton.versions.drop(2)
    assert list(triton.segmenter.ready_versions) == [1, 3]
    with pytest.raises(VersionUnavailable, match=r"version 2 is not ready; ready are \[1, 3\]"):
        await triton.segmenter.infer(2, np.zeros((*SIZE, 3), np.uint8), NO_ADJUSTMENT, SIZE)

    await triton.versions.drop(3)
    with pytest.raises(ValueError, match="version 1 cannot be dropped"):
        await triton.versions.drop(1)


async def test_more_frames_than_may_be_in_flight_are_refused_and_none_is_lost(
    triton: Triton, release: Any, random_frame: Callable
) -> None:
    frame_HW3 = random_frame(SIZE)

    outcomes = await asyncio.gather(
        *(triton.segmenter.infer(1, frame_HW3, NO_ADJUSTMENT, SIZE) for _ in range(40)), return_exceptions=True
    )

    refused = [outcome for outcome in outcomes if isinstance(outcome, Overloaded)]
    answered = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    assert len(answered) + len(refused) == 40
    assert len(refused) >= 23
    assert str(refused[0]) == "17 frames are in flight already: try again, or send fewer"
    expected = release.expected_labels(frame_HW3, NO_ADJUSTMENT)
    for output in answered:
        np.testing.assert_array_equal(output.labels_HW, expected)
    assert 1 in triton.segmenter.ready_versions  # busy is not dead


async def test_a_frame_of_another_size_is_a_defect_of_the_caller(triton: Triton) -> None:
    with pytest.raises(ValueError, match=r"frame of \(8, 8, 3\) for version 1 of \(64, 128\)"):
        await triton.segmenter.infer(1, np.zeros((8, 8, 3), np.uint8), NO_ADJUSTMENT, SIZE)
