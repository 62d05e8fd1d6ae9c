"""Three pictures painted together, far to near: colour, label and nearness, so that labels are exact."""

import math
from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[Any]
"""uint8; declared wider because OpenCV's stubs return nothing narrower"""
Points = NDArray[Any]
"""int32 [N, 2], in sixteenths of a pixel"""
Point = tuple[float, float]
Color = tuple[float, ...]
NEARNESS_M = 50.0
_SHIFT = 4


def nearness(ahead_m: float) -> float:
    """1..255, falling with depth by e every 50 m; 0 is kept for the sky."""
    return min(max(255.0 * math.exp(ahead_m / -NEARNESS_M), 1.0), 255.0)


def nearness_of(ahead_m: NDArray[Any]) -> Bytes:
    return np.clip(255.0 * np.exp(ahead_m / -NEARNESS_M), 1, 255).astype(np.uint8)


def fixed_point(points: Iterable[Point]) -> Points:
    """Pixel positions as int32 [N, 2] in sixteenths, as OpenCV draws them."""
    return np.array([(int(x * 16), int(y * 16)) for x, y in points], np.int32)


class Canvas:
    """`image` uint8 [H, W, 3] RGB, `labels` uint8 [H, W], `near` uint8 [H, W]; later paint covers earlier paint.

    Shapes are given in sixteenths of a pixel (`fixed_point`). One without a label is a detail upon what has one.
    """

    def __init__(self, size_hw: tuple[int, int]) -> None:
        self.image: Bytes = np.zeros((*size_hw, 3), np.uint8)
        self.labels: Bytes = np.zeros(size_hw, np.uint8)
        self.near: Bytes = np.zeros(size_hw, np.uint8)

    def polygon(self, points: Points, color: Color, label: int | None, near: float) -> None:
        """A convex polygon [N, 2]."""
        cv2.fillConvexPoly(self.image, points, color, cv2.LINE_AA, _SHIFT)
        if label is not None:
            cv2.fillConvexPoly(self.labels, points, (label,), cv2.LINE_8, _SHIFT)
            cv2.fillConvexPoly(self.near, points, (near,), cv2.LINE_8, _SHIFT)

    def limb(self, points: Points, width_px: float, color: Color, label: int | None, near: float) -> None:
        """A round-ended thick line through points [N, 2]."""
        width = max(1, round(width_px))
        cv2.polylines(self.image, [points], False, color, width, cv2.LINE_AA, _SHIFT)
        if label is not None:
            cv2.polylines(self.labels, [points], False, (label,), width, cv2.LINE_8, _SHIFT)
            cv2.polylines(self.near, [points], False, (near,), width, cv2.LINE_8, _SHIFT)

    def disc(self, center: Points, radius_px: float, color: Color, label: int | None, near: float) -> None:
        point, radius = (int(center[0]), int(center[1])), max(8, round(radius_px * 16))
        cv2.circle(self.image, point, radius, color, cv2.FILLED, cv2.LINE_AA, _SHIFT)
        if label is not None:
            cv2.circle(self.labels, point, radius, (label,), cv2.FILLED, cv2.LINE_8, _SHIFT)
            cv2.circle(self.near, point, radius, (near,), cv2.FILLED, cv2.LINE_8, _SHIFT)

    def cutout(
        self, region: tuple[slice, slice], picture: Bytes, seen: Bytes, label: int, labelled: Bytes, near: Bytes
    ) -> None:
        """Pastes `picture` into rows and columns where `seen` is 1, and its label where `labelled` is 1."""
        cv2.copyTo(picture, seen, self.image[region])
        np.copyto(self.labels[region], np.uint8(label), where=labelled.view(bool))
        np.copyto(self.near[region], near, where=seen.view(bool))
