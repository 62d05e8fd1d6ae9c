"""Window grids against the authors' lists, and their averaging against a plain canvas."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptation.learning.networks.windows import Box, average_windows, nested_windows, window_boxes

CASES = json.loads((Path(__file__).parents[1] / "reference" / "hrda" / "windows.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['H']}x{case['W']}-{case['crop']}")
def test_nested_windows_are_the_authors(case: dict) -> None:
    crop, stride = (case["crop"],) * 2, (case["stride"],) * 2
    half = (case["crop"] // 2,) * 2
    nested = nested_windows((case["H"], case["W"]), crop, stride, half, (half[0] // 2,) * 2)
    assert [list(box) for box in nested.outer] == [window["outer"] for window in case["windows"]]
    for window, members in zip(case["windows"], nested.members, strict=True):
        assert [list(nested.detail[i]) for i in members] == window["inner"]
    assert len(nested.detail) == len(set(nested.detail)) == case["n_inner_unique"]
    assert sum(len(members) for members in nested.members) == case["n_inner_total"]


sides = st.integers(1, 60)


@settings(deadline=None)
@given(size=st.tuples(sides, sides), crop=st.tuples(sides, sides), data=st.data())
def test_windows_cover_and_average_like_a_canvas(
    size: tuple[int, int], crop: tuple[int, int], data: st.DataObject
) -> None:
    stride = tuple(data.draw(st.integers(max(1, side // 4), side)) for side in crop)
    boxes = window_boxes(size, crop, (stride[0], stride[1]))
    assert {box.size for box in boxes} == {(min(crop[0], size[0]), min(crop[1], size[1]))}
    windows = [torch.rand(2, 3, *box.size) for box in boxes]
    canvas, count = torch.zeros(2, 3, *size), torch.zeros(size)
    for box, window in zip(boxes, windows, strict=True):
        box.crop(canvas).add_(window)
        box.crop(count).add_(1)
    assert count.min() > 0
    torch.testing.assert_close(average_windows(windows, boxes), canvas / count)


def test_a_box_on_a_coarser_map_is_truncated() -> None:
    assert Box(24, 88, 40, 104).divided(16) == Box(1, 5, 2, 6)


def test_impossible_grids_are_refused() -> None:
    with pytest.raises(ValueError, match="positive crop and stride"):
        window_boxes((64, 64), (32, 32), (0, 16))
