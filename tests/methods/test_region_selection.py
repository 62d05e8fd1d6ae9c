"""Selections of regions and points: the authors' exactly, the plain loop's on any map, and those for people."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from adaptation.region_selection import (
    paint_answers,
    point_scores,
    points_per_round,
    radius_for_people,
    region_scores,
    regions_per_round,
    reveal_labels,
    select_points,
    select_regions,
    select_regions_for_people,
)
from benchmarks.region_selection import select_regions_by_search

NOTHING = np.full((64, 128), 255, dtype=np.uint8)


def enlarged(logits: torch.Tensor) -> torch.Tensor:
    return F.interpolate(logits, size=(64, 128), mode="bilinear", align_corners=True)


def test_rounds_of_regions_are_the_authors(reference) -> None:
    numbers = reference("region_selection")
    count = regions_per_round(64, 128, float(numbers["ratio"]), int(numbers["rounds"]), radius=1)
    mask, active, selected = NOTHING, np.zeros((64, 128), dtype=bool), NOTHING
    for number in (1, 2, 3):
        scores = region_scores(enlarged(numbers[f"ra_logits_r{number}"]), radius=1, break_ties=False)
        selection = select_regions(scores.acquisition_HW, active, count, radius=1)
        mask = reveal_labels(mask, numbers["ra_gt"].numpy(), selection.centers_R2, radius=1)
        selected = reveal_labels(selected, np.zeros_like(NOTHING), selection.centers_R2, radius=1)
        active = selection.active_HW
        assert np.array_equal(mask, numbers[f"ra_mask_r{number}"].numpy())
        assert np.array_equal(active, numbers[f"ra_active_r{number}"].numpy())
        assert np.array_equal(selected == 0, numbers[f"ra_selected_r{number}"].numpy())


def test_rounds_of_points_are_the_authors(reference) -> None:
    numbers = reference("region_selection")
    count = points_per_round(1024, 2048, pixels=40, rounds=5)
    assert count == numbers["pa_per_round"]
    mask, active = NOTHING, np.zeros((64, 128), dtype=bool)
    for number in (1, 2):
        scores = point_scores(enlarged(numbers[f"pa_logits_r{number}"]), radius=4, break_ties=False)
        selection = select_points(scores, active, count, radius=4)
        mask, active = reveal_labels(mask, numbers["pa_gt"].numpy(), selection.centers_R2, 0), selection.active_HW
        assert np.array_equal(mask, numbers[f"pa_mask_r{number}"].numpy())
        assert np.array_equal(active, numbers[f"pa_active_r{number}"].numpy())
        assert np.array_equal(mask != 255, numbers[f"pa_selected_r{number}"].numpy())


def test_the_authors_frame_takes_1026_regions_a_round() -> None:
    assert regions_per_round(1024, 2048, 0.022, 5, radius=1) == 1026


@given(
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    levels=st.integers(1, 6),
    count=st.integers(0, 20),
    radius=st.integers(0, 3),
    seed=st.integers(0, 999),
)
def test_the_fast_selection_is_the_plain_loop(
    height: int, width: int, levels: int, count: int, radius: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(levels, size=(height, width)) / np.float32(levels)
    active = rng.random((height, width)) < 0.2
    expected = select_regions_by_search(scores, active, count, radius)
    found = select_regions(scores, active, count, radius)
    assert found.centers_R2.tolist() == expected.centers_R2.tolist()
    assert np.array_equal(found.active_HW, expected.active_HW)


def test_a_full_image_gives_fewer_and_nan_is_never_picked() -> None:
    scores = np.full((3, 3), np.nan, dtype=np.float32)
    assert len(select_regions(scores, np.zeros((3, 3), bool), 5, 1).centers_R2) == 0
    scores[1, 2] = -1.0
    assert select_regions(scores, np.zeros((3, 3), bool), 5, 1).centers_R2.tolist() == [[1, 2]]
    assert len(select_points(np.ones((3, 3)), np.ones((3, 3), bool), 5, 1).centers_R2) == 0


def test_maps_of_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="one image's maps"):
        select_regions(np.ones((3, 3)), np.zeros((3, 4), bool), 1, 1)


def striped(height: int = 96, width: int = 128) -> NDArray[np.int64]:
    """Predicted classes in vertical stripes, 16 pixels wide."""
    return np.broadcast_to(np.arange(width) // 16, (height, width)).copy()


@pytest.mark.parametrize("clicks", [0, 1, 7, 50])
def test_regions_for_people_keep_to_the_clicks_and_never_overlap(clicks: int) -> None:
    value = np.random.default_rng(0).random((96, 128))
    selection = select_regions_for_people(value, striped(), np.zeros((96, 128), bool), clicks, radius=8)
    assert sum(len(region.segments) for region in selection.regions) <= clicks
    covered = np.zeros((96, 128), dtype=int)
    for region in selection.regions:
        covered[region.top : region.bottom, region.left : region.right] += 1
    assert covered.max(initial=0) <= 1
    assert bool(selection.regions) == (clicks > 0)
    assert selection.active_HW[covered > 0].all()


def test_a_region_of_one_segment_costs_one_click() -> None:
    predicted = np.zeros((64, 64), dtype=np.int64)
    predicted[:, 32:] = 5
    predicted[0, 0] = 9
    value = np.zeros((64, 64))
    value[10, 10], value[10, 31] = 1.0, 1.5
    both = select_regions_for_people(value, predicted, np.zeros((64, 64), bool), clicks=3, radius=4)
    assert [(region.segments) for region in both.regions[:2]] == [(0,), (0, 5)]
    assert (both.regions[0].top, both.regions[0].bottom, both.regions[0].left, both.regions[0].right) == (6, 15, 6, 15)


def test_answers_are_painted_segment_by_segment() -> None:
    predicted = striped()
    value = np.zeros((96, 128))
    value[50, 16] = 1.0
    (region, *_) = select_regions_for_people(value, predicted, np.zeros((96, 128), bool), 2, radius=4).regions
    assert sorted(region.segments) == [0, 1]
    empty = np.full((96, 128), 255, dtype=np.uint8)
    mask = paint_answers(empty, predicted, region, {0: 10, 1: 255})
    assert (empty == 255).all()
    assert np.unique(mask[46:55, 12:16]).tolist() == [10]
    assert (mask == 10).sum() == 9 * 4


def test_boxes_for_people_grow_with_the_frame() -> None:
    assert [2 * radius_for_people(height) + 1 for height in (16, 360, 512, 1024)] == [3, 23, 33, 65]
