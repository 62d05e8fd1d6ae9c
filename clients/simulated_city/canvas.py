"""Three pictures painted together, far to near: colour, label and nearness, so that labels are exact."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from clients.simulated_city.camera import HEIGHT_M, NEAREST_M, Camera

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


@dataclass(frozen=True)
class Texture:
    """RGB or RGBA uint8 images, each half as large as the one before; alpha above 127 is opaque."""

    levels: tuple[Bytes, ...]

    @classmethod
    def of(cls, image: Bytes, depth: int = 5) -> "Texture":
        levels = [image]
        while len(levels) < depth and min(levels[-1].shape[:2]) >= 8:
            levels.append(cv2.pyrDown(levels[-1]))
        return cls(tuple(levels))


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

    def upright_plane(
        self,
        camera: Camera,
        from_RZ: tuple[float, float],
        to_RZ: tuple[float, float],
        height_m: tuple[float, float],
        texture: Texture,
        label: int,
        label_the_holes: bool = False,
    ) -> None:
        """A texture on an upright rectangle between two camera positions (metres right, ahead), exact in perspective.

        A column at ray slope r meets the plane at t = (r Za - Ra) / (dR - r dZ), at depth D / (dR - r dZ).
        """
        (ra, za), (rb, zb) = from_RZ, to_RZ
        if max(za, zb) <= NEAREST_M:
            return
        dr, dz = rb - ra, zb - za
        t0 = max(0.0, (NEAREST_M - za) / dz) if dz > 0 else 0.0
        t1 = min(1.0, (NEAREST_M - za) / dz) if dz < 0 else 1.0
        low, high = height_m
        ends = [(ra + t * dr, za + t * dz) for t in (t0, t1)]
        corners = [
            camera.project(ends[end][0], up, ends[end][1]) for end, up in ((0, low), (0, high), (1, high), (1, low))
        ]
        rows, columns = self.labels.shape
        x0, y0 = (max(0, math.floor(min(corner[axis] for corner in corners))) for axis in (0, 1))
        x1, y1 = (math.ceil(max(corner[axis] for corner in corners)) + 1 for axis in (0, 1))
        x1, y1 = min(x1, columns), min(y1, rows)
        if x1 <= x0 or y1 <= y0:
            return
        texels_per_m = texture.levels[0].shape[0] / (high - low)
        squeeze = max(texels_per_m / camera.pixels_per_m((ends[0][1] + ends[1][1]) / 2), 1.0)
        level = texture.levels[min(int(math.log2(squeeze) + 0.5), len(texture.levels) - 1)]
        texture_h, texture_w = level.shape[:2]
        f, cx, horizon = camera.focal_px, camera.middle_px - x0, camera.horizon_px - y0
        spread = za * dr - ra * dz
        denominator = np.array([-dz / f, 0.0, dr + cx * dz / f])
        across = texture_w * np.array([za / f, 0.0, -ra - cx * za / f])
        down = texture_h / (high - low) * ((high - HEIGHT_M) * denominator + spread / f * np.array([0, 1.0, -horizon]))
        shape = (x1 - x0, y1 - y0)
        warped = cv2.warpPerspective(
            level,
            np.stack([across, down, denominator]),
            shape,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        mask = np.zeros((shape[1], shape[0]), np.uint8)
        cv2.fillConvexPoly(mask, fixed_point((x - x0, y - y0) for x, y in corners), (1,), cv2.LINE_8, _SHIFT)
        seen = mask
        if warped.shape[2] == 4:
            seen = mask & (warped[..., 3] > 127)
            warped = np.ascontiguousarray(warped[..., :3])
        labelled = (mask if label_the_holes else seen).view(bool)
        region = np.s_[y0:y1, x0:x1]
        cv2.copyTo(warped, seen, self.image[region])
        np.copyto(self.labels[region], np.uint8(label), where=labelled)
        depth = spread / (denominator[0] * np.arange(shape[0]) + denominator[2])
        np.copyto(self.near[region], nearness_of(np.clip(depth, 0, 400)), where=seen.view(bool))
