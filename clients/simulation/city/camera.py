"""The vehicle's camera: a pinhole that looks level along its heading, so that upright edges stay upright."""

import functools
import math
from dataclasses import dataclass

HEIGHT_M = 1.45
HORIZON_SHARE = 0.47
NEAREST_M = 0.6
FARTHEST_M = 130.0


@dataclass(frozen=True)
class Camera:
    """Position (x_m, s_m) and yaw (radians, positive to the right) in the world; optics in pixels.

    Points are projected one by one in plain floats: they come a few at a time, where arrays would cost more.
    """

    size_hw: tuple[int, int]
    x_m: float
    s_m: float
    yaw: float
    sway_px: float = 0.0

    @functools.cached_property
    def cos_sin(self) -> tuple[float, float]:
        return math.cos(self.yaw), math.sin(self.yaw)

    @functools.cached_property
    def focal_px(self) -> float:
        return 0.86 * self.size_hw[1]

    @functools.cached_property
    def horizon_px(self) -> float:
        return HORIZON_SHARE * self.size_hw[0] + self.sway_px

    @functools.cached_property
    def middle_px(self) -> float:
        return 0.5 * self.size_hw[1]

    def to_camera(self, x_m: float, s_m: float) -> tuple[float, float]:
        """Metres to the right and ahead of the camera, of a world position (X, S)."""
        dx, ds = x_m - self.x_m, s_m - self.s_m
        cos, sin = self.cos_sin
        return dx * cos - ds * sin, ds * cos + dx * sin

    def project(self, right_m: float, up_m: float, ahead_m: float) -> tuple[float, float]:
        """Pixel (column, row) of a point so far right of, above the ground at, and ahead of the camera."""
        scale = self.focal_px / max(ahead_m, NEAREST_M / 2)
        return self.middle_px + right_m * scale, self.horizon_px + (HEIGHT_M - up_m) * scale

    def depth_if_seen(self, x_m: float, s_m: float, reach_m: float) -> float | None:
        """Metres ahead of a thing that fills `reach_m` around its place; None when it is out of the picture."""
        right, ahead = self.to_camera(x_m, s_m)
        widest = max(ahead, 0.0) * self.middle_px / self.focal_px + reach_m
        return ahead if -reach_m < ahead < FARTHEST_M and abs(right) < widest else None

    def pixels_per_m(self, ahead_m: float) -> float:
        return self.focal_px / max(ahead_m, NEAREST_M)
