"""Textures on upright rectangles: facades, walls, fences, tree crowns."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from clients.simulation.city.camera import HEIGHT_M, NEAREST_M, Camera
from clients.simulation.city.canvas import Bytes, Canvas, Point, fixed_point, nearness_of
from clients.simulation.city.street import Floats


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


@dataclass(frozen=True)
class UprightPlane:
    """Between two places (metres right of and ahead of the camera) and two heights, exact in perspective.

    A pixel column at ray slope r meets the plane at t = (r Za - Ra) / (dR - r dZ) of its length, at depth
    D / (dR - r dZ) with D = Za dR - Ra dZ; so texture coordinates and depth are ratios of linear functions.
    """

    from_RZ: Point
    to_RZ: Point
    height_m: tuple[float, float]

    def paint(
        self, canvas: Canvas, camera: Camera, texture: Texture, label: int, label_the_holes: bool = False
    ) -> None:
        """Its part before the camera; transparent texels show what is behind, and are labelled so unless told."""
        if max(self.from_RZ[1], self.to_RZ[1]) <= NEAREST_M:
            return
        ends = self._before_lens()
        low, high = self.height_m
        upright = ((ends[0], low), (ends[0], high), (ends[1], high), (ends[1], low))
        corners = [camera.project(right, up, ahead) for (right, ahead), up in upright]
        rows, columns = canvas.labels.shape
        x0, y0 = (max(0, math.floor(min(corner[axis] for corner in corners))) for axis in (0, 1))
        x1, y1 = (math.ceil(max(corner[axis] for corner in corners)) + 1 for axis in (0, 1))
        x1, y1 = min(x1, columns), min(y1, rows)
        if x1 <= x0 or y1 <= y0:
            return
        texels_per_m = texture.levels[0].shape[0] / (high - low)
        squeeze = max(texels_per_m / camera.pixels_per_m((ends[0][1] + ends[1][1]) / 2), 1.0)
        level = texture.levels[min(int(math.log2(squeeze) + 0.5), len(texture.levels) - 1)]
        to_texels, depth = self._mapping(camera, level.shape[:2], (x0, y0), x1 - x0)
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        picture = cv2.warpPerspective(level, to_texels, (x1 - x0, y1 - y0), flags=how, borderMode=cv2.BORDER_REPLICATE)
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        cv2.fillConvexPoly(mask, fixed_point((x - x0, y - y0) for x, y in corners), (1,), cv2.LINE_8, 4)
        seen = mask
        if picture.shape[2] == 4:
            seen = mask & (cv2.extractChannel(picture, 3) > 127)
            picture = cv2.cvtColor(picture, cv2.COLOR_RGBA2RGB)
        labelled = mask if label_the_holes else seen
        canvas.cutout(np.s_[y0:y1, x0:x1], picture, seen, label, labelled, nearness_of(np.clip(depth, 0, 400)))

    def _before_lens(self) -> tuple[Point, Point]:
        """The two ends, moved to where the plane passes the nearest depth if they are nearer."""
        (ra, za), (rb, zb) = self.from_RZ, self.to_RZ
        dr, dz = rb - ra, zb - za
        t0 = max(0.0, (NEAREST_M - za) / dz) if dz > 0 else 0.0
        t1 = min(1.0, (NEAREST_M - za) / dz) if dz < 0 else 1.0
        return (ra + t0 * dr, za + t0 * dz), (ra + t1 * dr, za + t1 * dz)

    def _mapping(
        self, camera: Camera, texture_hw: tuple[int, ...], corner_px: tuple[int, int], columns: int
    ) -> tuple[Floats, Floats]:
        """The homography [3, 3] from pixels, counted from `corner_px`, to texels; and the depth of each column."""
        (ra, za), (rb, zb), (low, high) = self.from_RZ, self.to_RZ, self.height_m
        dr, dz = rb - ra, zb - za
        f, cx, horizon = camera.focal_px, camera.middle_px - corner_px[0], camera.horizon_px - corner_px[1]
        spread = za * dr - ra * dz
        slant, offset = -dz / f, dr + cx * dz / f
        across = (texture_hw[1] * (za / f), 0.0, texture_hw[1] * (-ra - cx * za / f))
        above, tall = high - HEIGHT_M, texture_hw[0] / (high - low)
        down = (tall * (above * slant), tall * (spread / f), tall * (above * offset + spread / f * -horizon))
        depth = spread / (slant * np.arange(columns) + offset)
        return np.array([across, down, (slant, 0.0, offset)]), depth
