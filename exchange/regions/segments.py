"""Pixels of a box that belong together, as run lengths: a part of an image that one click names.

Runs go row by row through the box, the pixels outside first, as in CVAT's masks.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MOST_RUNS = 4096
"""Of one segment, where it is kept."""


def run_lengths(inside_HW: NDArray[np.bool_]) -> tuple[int, ...]:
    """Of the pixels outside and inside, in turn; the first one is 0 where the first pixel is inside."""
    flat = np.concatenate(([False], inside_HW.ravel()))
    starts = np.flatnonzero(np.diff(flat))
    return tuple(np.diff(np.concatenate(([0], starts, [inside_HW.size]))).tolist())


def segment_of(runs: Sequence[int], size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels, bool of the box's size.

    Raises:
        ValueError: the runs do not fill the box.
    """
    if any(run < 0 for run in runs) or sum(runs) != size_hw[0] * size_hw[1]:
        raise ValueError(f"runs of {sum(runs)} pixels in a box of {size_hw[0]} x {size_hw[1]}")
    return np.repeat(np.arange(len(runs)) % 2 == 1, np.asarray(runs, dtype=np.intp)).reshape(size_hw)
