"""Where the overlapping windows of HRDA's test mode lie (Hoyer et al., ECCV 2022, section 3.3)."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

Size = tuple[int, int]
"""(rows, columns)"""


class Box(NamedTuple):
    """A rectangle [y1, y2) x [x1, x2), in pixels or in cells of a feature map."""

    y1: int
    y2: int
    x1: int
    x2: int

    @property
    def size(self) -> Size:
        return self.y2 - self.y1, self.x2 - self.x1

    def divided(self, stride: int) -> "Box":
        """The box on a map of this stride, truncated as the authors do."""
        return Box(*(edge // stride for edge in self))

    def shifted(self, dy: int, dx: int) -> "Box":
        return Box(self.y1 + dy, self.y2 + dy, self.x1 + dx, self.x2 + dx)

    def crop(self, maps: Tensor) -> Tensor:
        """Cut the box from the last two dimensions."""
        return maps[..., self.y1 : self.y2, self.x1 : self.x2]


def _spans(length: int, crop: int, stride: int) -> list[tuple[int, int]]:
    if crop < 1 or stride < 1:
        raise ValueError(f"a window needs a positive crop and stride, not crop {crop} and stride {stride}")
    count = max(length - crop + stride - 1, 0) // stride + 1
    ends = [min(i * stride + crop, length) for i in range(count)]
    return [(max(end - crop, 0), end) for end in ends]


def window_boxes(size: Size, crop: Size, stride: Size) -> list[Box]:
    """Cover `size` by windows of `crop` every `stride`, row by row; the last of a row or column is pulled back.

    All windows have the same size: `crop`, or less where the image is smaller than it.
    """
    columns = _spans(size[1], crop[1], stride[1])
    return [Box(y1, y2, x1, x2) for y1, y2 in _spans(size[0], crop[0], stride[0]) for x1, x2 in columns]


class NestedWindows(NamedTuple):
    """Outer windows, the distinct detail windows that cover them, and which of those each outer window uses."""

    outer: tuple[Box, ...]
    detail: tuple[Box, ...]
    """In pixels of the frame, each listed once, in the order of first use."""
    members: tuple[tuple[int, ...], ...]
    """For each outer window, indices into `detail`, in the order of its own grid."""


def nested_windows(
    size: Size, outer_crop: Size, outer_stride: Size, detail_crop: Size, detail_stride: Size
) -> NestedWindows:
    """Find the detail windows of every outer window; those that outer windows share are listed once."""
    outer = window_boxes(size, outer_crop, outer_stride)
    index: dict[Box, int] = {}
    members = []
    for window in outer:
        inner = [box.shifted(window.y1, window.x1) for box in window_boxes(window.size, detail_crop, detail_stride)]
        members.append(tuple(index.setdefault(box, len(index)) for box in inner))
    return NestedWindows(tuple(outer), tuple(index), tuple(members))


def average_windows(windows: Sequence[Tensor], boxes: Sequence[Box]) -> Tensor:
    """Average overlapping windows over the area that they cover together, which must be a rectangle at (0, 0).

    The area falls into cells with one set of windows each; a cell is a sum of slices, and the cells are concatenated.
    That needs no canvas to write into, so that every exporter and autograd see plain arithmetic.

    Raises:
        ValueError: a window's map has another size than its box.
    """
    for window, box in zip(windows, boxes, strict=True):
        if tuple(window.shape[-2:]) != box.size:
            raise ValueError(f"a map of {tuple(window.shape[-2:])} cells does not fill its window of {box.size} cells")
    rows = pairwise(sorted({edge for box in boxes for edge in (box.y1, box.y2)}))
    columns = list(pairwise(sorted({edge for box in boxes for edge in (box.x1, box.x2)})))
    bands = [torch.cat([_cell(windows, boxes, Box(*ys, *xs)) for xs in columns], -1) for ys in rows]
    return torch.cat(bands, -2)


def _cell(windows: Sequence[Tensor], boxes: Sequence[Box], cell: Box) -> Tensor:
    parts = [
        cell.shifted(-box.y1, -box.x1).crop(window)
        for window, box in zip(windows, boxes, strict=True)
        if box.y1 <= cell.y1 and cell.y2 <= box.y2 and box.x1 <= cell.x1 and cell.x2 <= box.x2
    ]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total / len(parts) if len(parts) > 1 else total
