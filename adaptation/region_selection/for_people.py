"""Regions that a person can label: larger boxes, asked segment by segment, within a budget of clicks.

RIPU's own regions are 3 x 3 pixels, about a thousand a frame. Here a box is some thirty pixels wide and its predicted
classes part it into segments; a click names the class of one segment. So a wrong prediction is put right by one click,
and what a click labels is as exact as the predicted outline.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adaptation.region_selection.scores import classes_per_region
from adaptation.region_selection.selection import box_around, pick

FEWEST_SEGMENT_SHARE = 0.05
"""Specks below this share of a region are not asked; their pixels stay without a label."""


class AskedRegion(NamedTuple):
    """One box, and the predicted classes of the segments to be named in it, the largest first; a click for each."""

    top: int
    bottom: int
    left: int
    right: int
    segments: tuple[int, ...]


class SelectionForPeople(NamedTuple):
    regions: list[AskedRegion]
    """In the order of value a click."""
    active_HW: NDArray[np.bool_]
    """All pixels now out of bounds."""
    values: list[float]
    """Of each region, for a click."""


def radius_for_people(height: int) -> int:
    """Boxes about a sixteenth of the frame's height wide: 33 pixels of 512."""
    return max(height // 32, 1)


def select_regions_for_people(
    value_HW: ArrayLike, predicted_HW: NDArray[np.integer], active_HW: ArrayLike, clicks: int, radius: int
) -> SelectionForPeople:
    """Takes the boxes of the highest value a click, never overlapping, until no box fits into the clicks left.

    Args:
        value_HW: worth of labelling the box around each pixel, `region_scores` with this radius: its acquisition, or
            its uncertainty where large segments matter more than outlines.
        predicted_HW: predicted train ids, which part a box into segments.
        active_HW: where earlier rounds put their boxes.
    """
    costs_HW = classes_per_region(predicted_HW, radius, FEWEST_SEGMENT_SHARE).clip(1)
    value_a_click_HW = np.asarray(value_HW) / costs_HW
    selection = pick(value_a_click_HW, active_HW, clicks, 2 * radius, costs_HW)
    rows_R, columns_R = selection.centers_R2.T
    regions = [_asked(predicted_HW, row, column, radius) for row, column in selection.centers_R2.tolist()]
    return SelectionForPeople(regions, selection.active_HW, value_a_click_HW[rows_R, columns_R].tolist())


def paint_answers(
    mask_HW: NDArray[np.uint8], predicted_HW: NDArray[np.integer], region: AskedRegion, answers: Mapping[int, int]
) -> NDArray[np.uint8]:
    """A copy of the label mask with the answered segments of a region.

    Args:
        answers: for each named segment (by its predicted class) the train id, or 255 for "unsure".
    """
    painted_HW = mask_HW.copy()
    box = np.s_[region.top : region.bottom, region.left : region.right]
    for segment, train_id in answers.items():
        painted_HW[box][predicted_HW[box] == segment] = train_id
    return painted_HW


def _asked(predicted_HW: NDArray[np.integer], row: int, column: int, radius: int) -> AskedRegion:
    rows, columns = box_around(row, column, radius)
    inside = predicted_HW[rows, columns]
    classes, pixels = np.unique(inside, return_counts=True)
    order = np.argsort(-pixels, kind="stable")
    segments = [int(classes[i]) for i in order if pixels[i] >= FEWEST_SEGMENT_SHARE * inside.size]
    top, left = int(rows.start), int(columns.start)
    return AskedRegion(top, top + inside.shape[0], left, left + inside.shape[1], tuple(segments))
