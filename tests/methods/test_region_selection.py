"""Selections of regions and points: the authors' exactly, the plain loop's on any map, and those for people."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from adaptation.learning.methods.ripu import (
    paint_answer,
    point_scores,
    points_per_round,
    region_scores,
    regions_for_people,
    regions_per_round,
    reveal_labels,
    select_points,
    select_regions,
    superpixels,
    width_for_people,
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


def two_squares() -> NDArray[np.uint8]:
    """A gray frame with a light square and a dark one, and the noise of a camera."""
    image_HW3 = np.full((96, 192, 3), 128, np.uint8)
    image_HW3[20:40, 30:50], image_HW3[60:80, 120:150] = 220, 30
    noise = np.random.default_rng(0).integers(-6, 7, image_HW3.shape)
    return (image_HW3 + noise).astype(np.uint8)


def unsure_in(rows: slice, columns: slice) -> torch.Tensor:
    """Sure of class 2 everywhere, and between 2 and 5 in one place."""
    logits_KHW = torch.zeros(19, 96, 192)
    logits_KHW[2] = 9.0
    logits_KHW[5, rows, columns] = 8.0
    return logits_KHW


def test_superpixels_follow_the_edges_of_the_image() -> None:
    image_HW3 = two_squares()
    parts_HW = superpixels(image_HW3, 6)
    object_HW = np.zeros((96, 192), int)
    object_HW[20:40, 30:50], object_HW[60:80, 120:150] = 1, 2
    strangers = 0
    for number in range(1, parts_HW.max() + 1):
        rows, columns = np.nonzero(parts_HW == number)
        assert len(rows) == 0 or max(np.ptp(rows), np.ptp(columns)) <= 18
        strangers += len(rows) - np.bincount(object_HW[rows, columns], minlength=1).max()
    assert strangers < 0.02 * (object_HW > 0).sum()


def test_people_are_asked_where_the_network_is_unsure_of_one_object() -> None:
    image_HW3, logits_KHW = two_squares(), unsure_in(np.s_[60:80], np.s_[120:150])
    best = regions_for_people(image_HW3, logits_KHW, np.zeros((96, 192), bool))
    assert [each.value for each in best] == sorted((each.value for each in best), reverse=True)
    for region in best[:4]:
        assert 58 <= region.top < region.bottom <= 82
        assert 118 <= region.left < region.right <= 152
        assert (region.predicted, region.segment_hw.shape) == (
            2,
            (region.bottom - region.top, region.right - region.left),
        )


def test_regions_never_overlap_and_what_was_asked_is_passed() -> None:
    image_HW3, logits_KHW = two_squares(), unsure_in(np.s_[60:80], np.s_[120:150])
    best = regions_for_people(image_HW3, logits_KHW, np.zeros((96, 192), bool))
    mask_HW, count_HW = np.full((96, 192), 255, np.uint8), np.zeros((96, 192), int)
    for region in best:
        count_HW[region.top : region.bottom, region.left : region.right] += region.segment_hw
    assert count_HW.max() == 1
    for region in best[:10]:
        paint_answer(mask_HW, region, 7)
    left = regions_for_people(image_HW3, logits_KHW, mask_HW != 255)
    assert {each.runs for each in left} == {each.runs for each in best[10:]}


def test_random_regions_are_those_of_their_generator() -> None:
    image_HW3, logits_KHW = two_squares(), unsure_in(np.s_[60:80], np.s_[120:150])
    one, same, other = (
        regions_for_people(image_HW3, logits_KHW, np.zeros((96, 192), bool), np.random.default_rng(seed))
        for seed in (1, 1, 2)
    )
    assert one == same
    assert [each.runs for each in one] != [each.runs for each in other]


def test_regions_for_people_grow_with_the_frame() -> None:
    assert [width_for_people(height) for height in (16, 360, 512, 1024)] == [3, 22, 32, 64]
