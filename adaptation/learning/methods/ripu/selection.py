"""Picking regions and points by score so that they never overlap, exactly as RIPU's loop does but in one pass.

The authors search the whole map again for each region: 50 s for 1026 regions of a 2048 x 1024 frame. A region switches
off at most (4 * radius + 1)^2 pixels, so the n best regions lie among the n * (4 * radius + 1)^2 best pixels; these are
sorted once and those already switched off are passed over.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Selection(NamedTuple):
    """Centres of the picked regions, best first, int64 [R, 2] (row, column), and all pixels now out of bounds."""

    centers_R2: NDArray[np.int64]
    active_HW: NDArray[np.bool_]


def regions_per_round(height: int, width: int, ratio: float, rounds: int, radius: int) -> int:
    """How many regions of (2 * radius + 1)^2 pixels a round may take to label `ratio` of the image in `rounds`."""
    return math.ceil(height * width * (ratio / rounds) / (2 * radius + 1) ** 2)


def points_per_round(height: int, width: int, pixels: int, rounds: int) -> int:
    """How many points a round may take: `pixels` of a 1280 x 640 image, and as many more as the image is larger."""
    return math.ceil(pixels / rounds / (1280 * 640) * (height * width))


def select_regions(acquisition_HW: ArrayLike, active_HW: ArrayLike, count: int, radius: int) -> Selection:
    """The `count` best regions of (2 * radius + 1)^2 pixels that overlap neither each other nor earlier ones.

    Ties go to the smallest column, then the smallest row, as in the authors' loop. When the image is full, fewer
    come back (the authors' loop would take its corner again and again).

    Args:
        acquisition_HW: score of the region around each pixel; NaN is never picked.
        active_HW: where earlier rounds put their regions; all False at first. Not changed.
    """
    return _pick(acquisition_HW, active_HW, count, blocked_radius=2 * radius)


def select_points(scores_HW: ArrayLike, active_HW: ArrayLike, count: int, radius: int) -> Selection:
    """The `count` best pixels, no two within `radius` rows and columns of one another; otherwise `select_regions`."""
    return _pick(scores_HW, active_HW, count, blocked_radius=radius)


def reveal_labels(
    mask_HW: NDArray[np.uint8], labels_HW: NDArray[np.uint8], centers_R2: NDArray[np.int64], radius: int
) -> NDArray[np.uint8]:
    """A copy of `mask_HW` (255 = not asked) with the labels of the chosen regions; radius 0 for points."""
    revealed_HW = mask_HW.copy()
    for row, column in centers_R2:
        region = box_around(int(row), int(column), radius)
        revealed_HW[region] = labels_HW[region]
    return revealed_HW


def box_around(row: int, column: int, radius: int) -> tuple[slice, slice]:
    """Index of the box around a pixel, cut off at the image's top and left (slicing cuts the rest)."""
    return slice(max(row - radius, 0), row + radius + 1), slice(max(column - radius, 0), column + radius + 1)


def _pick(scores: ArrayLike, active: ArrayLike, count: int, blocked_radius: int) -> Selection:
    """Takes pixels by descending score, switching off the box around each.

    Raises:
        ValueError: the maps differ in size.
    """
    scores_HW, active_HW = np.asarray(scores), np.array(active, dtype=np.bool_)
    if scores_HW.shape != active_HW.shape:
        raise ValueError(f"scores are {scores_HW.shape} and the active map is {active_HW.shape}: pass one image's maps")
    rows, columns = _best_pixels(scores_HW, active_HW, count * (2 * blocked_radius + 1) ** 2)
    centers: list[tuple[int, int]] = []
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        if len(centers) == count:
            break
        if not active_HW[row, column]:
            centers.append((row, column))
            active_HW[box_around(row, column, blocked_radius)] = True
    return Selection(np.array(centers, dtype=np.int64).reshape(-1, 2), active_HW)


def _best_pixels(
    scores_HW: NDArray[np.floating], active_HW: NDArray[np.bool_], most: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of at least the `most` best free pixels, best first, then by column, then by row."""
    rows, columns = np.nonzero(~active_HW & ~np.isnan(scores_HW))
    scores = scores_HW[rows, columns]
    if 0 < most < len(scores):
        # Everything equal to the last one stays: a tie is decided by place, not by the partition.
        worst = np.partition(scores, len(scores) - most)[len(scores) - most]
        kept = scores >= worst
        rows, columns, scores = rows[kept], columns[kept], scores[kept]
    order = np.lexsort((rows, columns, -scores))
    return rows[order], columns[order]
