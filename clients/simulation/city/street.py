"""The street's plan: a winding centre line with lanes, and the light that falls on it during one drive.

Everything in the city has street coordinates (s, u): metres along the street and metres to the right of its
centre line. The world is flat and Cartesian: X = centre(s) + u, S = s, Y up.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.simulation.city.domain_look import DomainLook, Rgb

Floats = NDArray[Any]
CELL_M = 64.0
JUNCTION_M = 15.0
"""A junction takes the last metres of a cell; its sidewalks take 3 m of them on either side."""


def random_stream(look: DomainLook, seed: int, *words: int) -> np.random.Generator:
    """A generator for one purpose, independent of the order in which the city is looked at."""
    return np.random.default_rng([look.seed_word, seed, *(word % 2**32 for word in words)])


@dataclass(frozen=True)
class Street:
    """Widths and winding of one drive's street; traffic keeps to the right."""

    look: DomainLook
    swing_m: tuple[float, float]
    phase: tuple[float, float]
    verge_m: float

    @classmethod
    def of_drive(cls, look: DomainLook, seed: int) -> "Street":
        rng = random_stream(look, seed, 1)
        return cls(
            look=look,
            swing_m=(float(rng.uniform(2, 8)), float(rng.uniform(0.5, 2.5))),
            phase=(float(rng.uniform(0, 6.28)), float(rng.uniform(0, 6.28))),
            verge_m=1.6 if rng.random() < look.verge_share else 0.0,
        )

    @property
    def lane_center_m(self) -> float:
        return self.look.lane_m / 2

    @property
    def cycle_center_m(self) -> float:
        return self.look.lane_m + self.look.cycle_lane_m / 2

    @property
    def parking_center_m(self) -> float:
        return self.look.lane_m + self.look.cycle_lane_m + self.look.parking_m / 2

    @property
    def road_half_m(self) -> float:
        return self.look.lane_m + self.look.cycle_lane_m + self.look.parking_m

    @property
    def walk_center_m(self) -> float:
        return self.road_half_m + self.verge_m + self.look.sidewalk_m * 0.55

    @property
    def front_m(self) -> float:
        """Where the sidewalk ends and the lots begin."""
        return self.road_half_m + self.verge_m + self.look.sidewalk_m

    def center(self, s: Floats | float) -> Floats:
        waves = zip(self.swing_m, (2 * math.pi / 310, 2 * math.pi / 137), self.phase, strict=True)
        return np.asarray(sum(a * np.sin(np.asarray(s) * k + p) for a, k, p in waves))

    def heading(self, s: float) -> float:
        """Angle of the centre line against the S axis, in radians, positive to the right."""
        waves = zip(self.swing_m, (2 * math.pi / 310, 2 * math.pi / 137), self.phase, strict=True)
        return math.atan(sum(a * k * math.cos(s * k + p) for a, k, p in waves))

    def place(self, s: float, u: float) -> tuple[float, float]:
        """World (X, S) of a street position."""
        waves = zip(self.swing_m, (2 * math.pi / 310, 2 * math.pi / 137), self.phase, strict=True)
        return sum(a * math.sin(s * k + p) for a, k, p in waves) + u, s


@dataclass(frozen=True)
class Light:
    """What falls on a surface of a given normal; gains on its colour, RGB."""

    ambient_rgb: Rgb
    sun_rgb: Rgb
    sun_XYS: Rgb

    @classmethod
    def of_drive(cls, look: DomainLook, seed: int) -> "Light":
        rng = random_stream(look, seed, 2)
        elevation = math.radians(rng.uniform(*look.sun_elevation_deg))
        azimuth = rng.choice([-1, 1]) * rng.uniform(0.5, 2.6)
        level = math.cos(elevation)
        strength = rng.uniform(0.45, 1.15)
        red, green, blue = look.sun_rgb
        return cls(
            ambient_rgb=look.ambient_rgb,
            sun_rgb=(red * strength, green * strength, blue * strength),
            sun_XYS=(level * math.sin(azimuth), math.sin(elevation), level * math.cos(azimuth)),
        )

    def gain(self, normal_XYS: tuple[float, float, float]) -> Rgb:
        x, y, s = normal_XYS
        facing = max(0.0, self.sun_XYS[0] * x + self.sun_XYS[1] * y + self.sun_XYS[2] * s)
        upward = 0.9 + 0.1 * y
        (ar, ag, ab), (sr, sg, sb) = self.ambient_rgb, self.sun_rgb
        return ar * upward + sr * facing, ag * upward + sg * facing, ab * upward + sb * facing
