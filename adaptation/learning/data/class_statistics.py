"""How often each class occurs in labelled frames: by pixels, and by frames."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from adaptation.learning.data.labelled_frames import LabelledFrame
from exchange.label_space import NUM_CLASSES


def count_classes(labels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Pixels of each of the 19 classes in a label map of any shape, int64 [19]; ignored pixels are not counted."""
    return np.bincount(labels.ravel(), minlength=256)[:NUM_CLASSES]


def pixel_frequency(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of each class in all labelled pixels, float64 [19], from counts [..., 19]; zeros if there are none."""
    total = counts.reshape(-1, NUM_CLASSES).sum(axis=0)
    return np.asarray(total / max(int(total.sum()), 1))


def is_present(counts: NDArray[np.int64], threshold: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether each class is present in each label map, by the estimator that serving applies to predictions.

    Undoing UDA (eq. 17, as its authors' code does it) calls class k present in a prediction where
    log mean exp(p_k) exceeds the source pixel frequency of k. On exact labels p is 0 or 1, so the score of a class
    with share m of the labelled pixels is log(1 + (e - 1) m): source and target presence then follow one rule.

    Args:
        counts: pixels by class, [..., 19].
        threshold: source pixel frequency, [19].
    """
    share = counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1)
    return np.asarray(np.log1p((np.e - 1) * share) > threshold)


def scan_labels(
    frames: Sequence[LabelledFrame], count_frame: Callable[[LabelledFrame], NDArray[np.int64]], threads: int
) -> Iterator[NDArray[np.int64]]:
    """Yields each frame's class counts, in order, reading in `threads` threads. Raises what `count_frame` raises."""
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(count_frame, frames)
