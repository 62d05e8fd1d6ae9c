"""How far an estimate from driving frames may be off, when successive frames show almost the same scene.

Frames are resampled in blocks (the block bootstrap of Künsch, 1989): whole drives, or short runs of frames where
there are too few drives to resample.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FEWEST_DRIVES = 5
FRAMES_PER_RUN = 20


@dataclass(frozen=True)
class Blocks:
    """Frames that stand or fall together: `block_of_frame_N` int64 [N] with `count` blocks of one `kind`."""

    block_of_frame_N: NDArray[np.int64]
    count: int
    kind: Literal["drives", "runs of 20 frames"]


def group_frames(drives: Sequence[Hashable]) -> Blocks:
    """One block per drive; with fewer than 5 drives, runs of 20 successive frames of one drive.

    Args:
        drives: the drive of each frame; frames of one drive in order of capture.
    """
    frames_so_far: dict[Hashable, int] = dict.fromkeys(drives, 0)
    few = len(frames_so_far) < FEWEST_DRIVES
    block_ids: dict[Hashable, int] = {}
    block_of_frame = []
    for drive in drives:
        block = (drive, frames_so_far[drive] // FRAMES_PER_RUN) if few else drive
        frames_so_far[drive] += 1
        block_of_frame.append(block_ids.setdefault(block, len(block_ids)))
    return Blocks(
        block_of_frame_N=np.array(block_of_frame, dtype=np.int64),
        count=len(block_ids),
        kind="runs of 20 frames" if few else "drives",
    )


def bootstrap_weights(blocks: Blocks, resamples: int, rng: np.random.Generator) -> Array:
    """Return how often each resample draws each frame, [R, N]: as many blocks as there are, with replacement."""
    times_RB = rng.multinomial(blocks.count, np.full(blocks.count, 1 / blocks.count), size=resamples)
    return times_RB[:, blocks.block_of_frame_N].astype(np.float64)


def effective_frames(values_NK: NDArray[Any], blocks: Blocks) -> float:
    """Return how many independent frames the mean of `values_NK` is worth, between the number of blocks and N.

    N times the ratio of the mean's variance if frames were independent to its variance over blocks (the design
    effect of cluster sampling), variances added over the K columns.
    """
    frames = len(values_NK)
    deviations_NK = values_NK.astype(np.float64) - values_NK.astype(np.float64).mean(axis=0)
    block_sums_BK = np.zeros((blocks.count, values_NK.shape[1]))
    np.add.at(block_sums_BK, blocks.block_of_frame_N, deviations_NK)
    independent = float(np.square(deviations_NK).sum())
    clustered = float(np.square(block_sums_BK).sum())
    # One block tells nothing about how blocks differ, and constant frames nothing about anything.
    if blocks.count < 2 or clustered == 0:
        return float(blocks.count)
    return min(max(frames * independent / clustered, float(blocks.count)), float(frames))
