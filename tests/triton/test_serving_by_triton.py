"""A real tritonserver serves the tiny release through shared memory."""

from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from exchange.label_space import NUM_CLASSES
from server.triton.assembly import Triton, start_embedded

MakeFrame = Callable[[tuple[int, int]], NDArray[np.uint8]]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def triton(make_release: Callable, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Triton]:
    served = await start_embedded(make_release().path, run_dir=tmp_path_factory.mktemp("triton"))
    yield served
    await served.close()


@pytest.mark.asyncio(loop_scope="module")
async def test_labels_through_triton_equal_the_engine_run_directly(
    triton: Triton, make_release: Callable, random_frame: MakeFrame
) -> None:
    release = make_release()
    frame_HW3 = random_frame(release.frame_size)
    log_prior_ratio_K = np.linspace(-1, 1, NUM_CLASSES, dtype=np.float32)
    expected = release.run_engine(frame_HW3, log_prior_ratio_K, (50, 100))

    output = await triton.segmenter.infer(1, frame_HW3, log_prior_ratio_K, (50, 100))

    np.testing.assert_array_equal(output.labels_HW, expected["LABEL"])
    np.testing.assert_array_equal(output.labels_HW, release.expected_labels(frame_HW3, log_prior_ratio_K))
    np.testing.assert_array_equal(output.confidence_HW, expected["CONFIDENCE"])
    np.testing.assert_array_equal(output.presence_K, expected["PRESENCE"])
    np.testing.assert_array_equal(output.mean_probability_K, expected["MEAN_PROBABILITY"])
