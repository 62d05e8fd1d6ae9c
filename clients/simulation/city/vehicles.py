"""Cars, vans, trucks and buses as shaded solids: an extruded side profile with glass, lights and wheels upon it."""

import functools
import math
from dataclasses import dataclass

from clients.simulation.city.camera import HEIGHT_M, Camera
from clients.simulation.city.canvas import Color
from clients.simulation.city.scene import Footprint, Frame3d, Scene
from exchange.label_space import TRAIN_ID

Profile = tuple[tuple[float, float], ...]
GLASS = (58, 70, 82)
TYRE = (24, 24, 26)
_BACKWARD = (0.0, 0.3, -0.8)
_TURN = tuple((math.cos(math.pi * k / 6), math.sin(math.pi * k / 6)) for k in range(12))
PAINTS = (
    (200, 202, 204), (232, 232, 230), (36, 38, 42), (92, 96, 102), (150, 30, 32), (34, 62, 118), (60, 92, 140),
    (24, 70, 56), (190, 170, 130), (196, 90, 30), (110, 24, 40), (120, 128, 134),
)  # fmt: skip
CARGO = ((228, 226, 220), (188, 62, 44), (52, 96, 150), (222, 176, 60), (92, 112, 96))
LIVERY = ((206, 44, 40), (236, 190, 50), (238, 238, 236), (40, 110, 90))


@dataclass(frozen=True)
class Shape:
    """A side profile drawn out to a width."""

    label: int
    profile: Profile
    """from the rear foot over the roof to the front foot, as (along, up) metres; the front has positive `along`"""
    sides: tuple[Profile, ...]
    """the side view in convex parts"""
    width_m: float
    tapered_m: float
    """how much narrower the roof is, on each side, than the body"""
    glass: tuple[int, ...]
    """which edges of the profile are windows, counted from the rear foot"""
    side_windows: tuple[tuple[float, float, float, float], ...]
    """(rear, low, front, high)"""
    wheels: tuple[tuple[float, float], ...]
    """(along, radius)"""

    @functools.cached_property
    def waist_m(self) -> float:
        return self.profile[2][1]

    @functools.cached_property
    def top_m(self) -> float:
        return max(up for _, up in self.profile)

    @functools.cached_property
    def length_m(self) -> float:
        return self.profile[-1][0] - self.profile[0][0]


def _body_and_cabin(profile: Profile) -> tuple[Profile, ...]:
    waist = profile[2][1]
    return tuple(p for p in profile if p[1] <= waist + 0.06), tuple(p for p in profile if p[1] >= waist - 0.06)


def _cargo_and_cab(profile: Profile) -> tuple[Profile, ...]:
    foot = profile[0][1]
    return (*profile[:3], (profile[2][0], foot)), ((profile[2][0], foot), (profile[2][0], profile[3][1]), *profile[3:])


_CAR, _TRUCK, _BUS = TRAIN_ID["car"], TRAIN_ID["truck"], TRAIN_ID["bus"]
_SALOON = ((-2.2, 0.3), (-2.25, 0.95), (-1.6, 1.0), (-1.0, 1.44), (0.35, 1.46), (1.05, 0.98), (2.1, 0.82), (2.2, 0.3))
_HATCH = ((-1.9, 0.3), (-1.98, 0.9), (-1.85, 1.02), (-1.5, 1.5), (0.3, 1.52), (1.0, 1.0), (1.85, 0.84), (1.95, 0.3))
_SUV = ((-2.25, 0.35), (-2.3, 1.05), (-2.2, 1.15), (-1.9, 1.78), (0.3, 1.8), (1.0, 1.18), (2.1, 1.05), (2.25, 0.35))
_BOX = ((-3.8, 0.5), (-3.8, 3.3), (1.75, 3.3), (1.8, 2.5), (2.9, 2.45), (3.35, 1.5), (3.5, 1.2), (3.5, 0.4))
_LORRY = ((-4.6, 0.6), (-4.6, 3.7), (2.4, 3.7), (2.5, 3.0), (4.1, 3.0), (4.3, 1.7), (4.4, 1.5), (4.4, 0.45))
_COACH = ((-5.6, 0.35), (-5.6, 3.0), (-5.5, 3.15), (5.3, 3.15), (5.5, 3.0), (5.6, 1.2), (5.62, 1.1), (5.62, 0.35))
SHAPES: dict[str, Shape] = {
    "saloon": Shape(_CAR, _SALOON, _body_and_cabin(_SALOON), 1.78, 0.18, (2, 4),
                    ((-1.25, 1.0, -0.32, 1.36), (-0.24, 1.0, 0.75, 1.36)), ((-1.35, 0.33), (1.35, 0.33))),
    "hatchback": Shape(_CAR, _HATCH, _body_and_cabin(_HATCH), 1.72, 0.16, (2, 4),
                       ((-1.6, 1.03, -0.45, 1.4), (-0.36, 1.03, 0.7, 1.4)), ((-1.2, 0.32), (1.2, 0.32))),
    "suv": Shape(_CAR, _SUV, _body_and_cabin(_SUV), 1.88, 0.15, (2, 4),
                 ((-1.9, 1.2, -0.5, 1.66), (-0.4, 1.2, 0.7, 1.66)), ((-1.4, 0.38), (1.4, 0.38))),
    "box truck": Shape(_TRUCK, _BOX, _cargo_and_cab(_BOX), 2.35, 0.0, (4,),
                       ((2.0, 1.45, 2.95, 2.2),), ((-2.4, 0.46), (2.5, 0.46))),
    "lorry": Shape(_TRUCK, _LORRY, _cargo_and_cab(_LORRY), 2.5, 0.0, (4,),
                   ((2.9, 1.7, 4.0, 2.6),), ((-3.4, 0.5), (-2.2, 0.5), (3.3, 0.5))),
    "bus": Shape(_BUS, _COACH, (_COACH,), 2.55, 0.04, (0, 4),
                 tuple((a, 1.35, a + 1.35, 2.6) for a in (-5.2, -3.7, -2.2, -0.7, 0.8, 2.3, 3.8)),
                 ((-3.6, 0.5), (3.4, 0.5))),
}  # fmt: skip


@dataclass(frozen=True)
class Vehicle:
    """A vehicle at a street position; heading is relative to the world's S axis."""

    shape: Shape
    x_m: float
    s_m: float
    heading: float
    paint: Color
    moving: bool

    def ahead_m(self, camera: Camera) -> float | None:
        return camera.depth_if_seen(self.x_m, self.s_m, self.shape.length_m / 2)

    def draw(self, scene: Scene) -> None:
        frame = Frame3d(scene, self.x_m, self.s_m, self.heading)
        along, aside = frame.toward_camera()
        half = self.shape.width_m / 2
        if frame.scale > 18:
            self._draw_wheels(frame, -math.copysign(half - 0.05, aside))
        for edge in range(len(self.shape.profile) - 1):
            self._draw_strip(scene, frame, edge, along)
        if abs(aside) > half:
            self._draw_side(scene, frame, math.copysign(1.0, aside))
        if abs(along) > self.shape.length_m / 2:
            self._draw_end(scene, frame, front=along > 0)

    def footprint(self) -> Footprint:
        size = (self.shape.length_m + 0.24, self.shape.width_m + 0.24, self.shape.top_m)
        return Footprint.rectangle(self.x_m, self.s_m, self.heading, *size)

    def _half_width(self, up_m: float) -> float:
        """The cabin narrows towards the roof."""
        waist, top = self.shape.waist_m, self.shape.top_m
        share = min(max((up_m - waist) / max(top - waist, 0.1), 0.0), 1.0)
        return self.shape.width_m / 2 - self.shape.tapered_m * share

    def _draw_strip(self, scene: Scene, frame: Frame3d, edge: int, camera_along_m: float) -> None:
        """One strip across the vehicle: bumper, boot, rear window, roof, windscreen or bonnet."""
        (a0, u0), (a1, u1) = self.shape.profile[edge], self.shape.profile[edge + 1]
        long = math.hypot(a1 - a0, u1 - u0)
        along, up = -(u1 - u0) / long, (a1 - a0) / long
        if (camera_along_m - a0) * along + (HEIGHT_M - u0) * up <= 0:
            return
        w0, w1 = self._half_width(u0), self._half_width(u1)
        world = frame.normal(along, 0.0, up)
        frame.polygon([(a0, -w0, u0), (a0, w0, u0), (a1, w1, u1), (a1, -w1, u1)], scene.shade(self.paint, world),
                      self.shape.label)  # fmt: skip
        if edge in self.shape.glass:
            b0, b1 = a0 + 0.08 * (a1 - a0), a1 - 0.08 * (a1 - a0)
            v0, v1 = u0 + 0.08 * (u1 - u0), u1 - 0.08 * (u1 - u0)
            dark, sky = scene.shade(GLASS, world), scene.street.look.sky_horizon_rgb
            glass = tuple(0.7 * d + 0.17 * h * abs(up) for d, h in zip(dark, sky, strict=True))
            w0, w1 = w0 * 0.9, w1 * 0.9
            frame.polygon([(b0, -w0, v0), (b0, w0, v0), (b1, w1, v1), (b1, -w1, v1)], glass, None)

    def _draw_side(self, scene: Scene, frame: Frame3d, side: float) -> None:
        shape = self.shape
        color = scene.shade(self.paint, frame.normal(0.0, side, 0.15))
        for part in shape.sides:
            frame.polygon([(a, side * self._half_width(u), u) for a, u in part], color, shape.label)
        edge, (rear, low), (front, _) = side * shape.width_m / 2, shape.profile[0], shape.profile[-1]
        sill = [(rear, edge, low), (front, edge, low), (front, edge, low + 0.14), (rear, edge, low + 0.14)]
        frame.polygon(sill, tuple(v * 0.55 for v in color), None)
        if frame.scale > 25 and shape.label == _CAR:
            foot, seam = low + 0.14, tuple(v * 0.6 for v in color)
            for a, b in ((-0.42, -0.39), (0.72, 0.75)):
                frame.polygon([(a, edge, foot), (b, edge, foot), (b, edge, 0.98), (a, edge, 0.98)], seam, None)
        glass = scene.shade(GLASS, frame.normal(0.0, side, 0.3))
        if scene.street.look.lights_on and shape.label == _BUS:
            glass = (236, 214, 160)
        cut = 0.3 if shape.tapered_m > 0.1 else 0.0
        for back, bottom, fore, top in shape.side_windows:
            wb, wt = side * self._half_width(bottom), side * self._half_width(top)
            frame.polygon([(back, wb, bottom), (fore, wb, bottom), (fore - cut, wt, top), (back + cut / 2, wt, top)],
                          glass, None)  # fmt: skip
        self._draw_wheels(frame, edge)

    def _draw_wheels(self, frame: Frame3d, aside_m: float) -> None:
        for along, radius in self.shape.wheels:
            frame.polygon([(along + radius * a, aside_m, radius * (1 + b)) for a, b in _TURN], TYRE, self.shape.label)
            if frame.scale > 18:
                hub = [(along + 0.55 * radius * a, aside_m, radius * (1 + 0.55 * b)) for a, b in _TURN]
                frame.polygon(hub, frame.scene.shade((128, 130, 134), (0, 0.5, 0)), None)

    def _draw_end(self, scene: Scene, frame: Frame3d, front: bool) -> None:
        """What is on the end that is seen: grille or cargo doors, bumper, lamps, number plate."""
        shape, half = self.shape, self.shape.width_m / 2
        along = (shape.profile[-1][0] + 0.02) if front else (shape.profile[0][0] - 0.06)
        low, high = (0.75, 1.0) if shape.waist_m > 1.3 else (0.62, 0.8)
        if frame.scale > 25:
            foot, dark = shape.profile[0][1], scene.shade((34, 36, 38), _BACKWARD)
            if front:
                frame.across(along, (-half + 0.5, low, half - 0.5, high - 0.04), dark)
            frame.across(along, (-half, foot, half, foot + 0.14), dark)
        if shape.label == _TRUCK and not front:
            bar = scene.shade((70, 70, 72), _BACKWARD)
            for left in (-half + 0.05, -0.03, half - 0.11):
                frame.across(along, (left, 0.7, left + 0.06, shape.top_m - 0.1), bar)
        on = scene.street.look.lights_on
        off_on = ((214, 220, 222), (255, 250, 226)) if front else ((150, 18, 20), (255, 40, 24))
        for side in (-1, 1):
            outer, inner = side * (half - 0.06), side * (half - 0.42)
            frame.across(along, (outer, low, inner, high), off_on[on])
            if self.moving:
                center = frame.pixels([(along, (outer + inner) / 2, (low + high) / 2)])[0]
                scene.glow(center, frame.scale * (0.34 if front else 0.24), off_on[on])
        frame.across(along, (-0.26, 0.46, 0.26, 0.58), scene.shade((236, 232, 200), _BACKWARD))
