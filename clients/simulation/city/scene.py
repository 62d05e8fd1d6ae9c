"""One moment as it is being painted, and how solids, limbs and boards get from metres onto the canvas."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import cv2
import numpy as np

from clients.simulation.city.camera import HEIGHT_M, NEAREST_M, Camera
from clients.simulation.city.canvas import Canvas, Color, Point, Points, fixed_point, nearness
from clients.simulation.city.street import Light, Street

Point3 = tuple[float, float, float]
_SHADOWS_WITHIN_M = 55.0


def _fixed_pixels(camera: Camera, corners: list[Point3]) -> Points:
    focal, middle, horizon = camera.focal_px, camera.middle_px, camera.horizon_px
    pixels = []
    for right, up, ahead in corners:
        scale = focal / (ahead if ahead > 0.3 else 0.3)
        pixels.append((int((middle + right * scale) * 16), int((horizon + (HEIGHT_M - up) * scale) * 16)))
    return np.array(pixels, np.int32)


def _before_lens(corners: list[Point3]) -> list[Point3]:
    """A convex polygon (right, up, ahead) without what is nearer than NEAREST_M or behind the camera."""
    if min([ahead for _, _, ahead in corners]) >= NEAREST_M:
        return corners
    kept = []
    for one, other in zip(corners, [*corners[1:], corners[0]], strict=True):
        if one[2] >= NEAREST_M:
            kept.append(one)
        if (one[2] >= NEAREST_M) != (other[2] >= NEAREST_M):
            share = (NEAREST_M - one[2]) / (other[2] - one[2])
            kept.append((one[0] + share * (other[0] - one[0]), one[1] + share * (other[1] - one[1]), NEAREST_M))
    return kept


@dataclass(frozen=True)
class Glow:
    """A light that shines into the camera: pixel, radius and colour."""

    x_px: float
    y_px: float
    radius_px: float
    color: Color


@dataclass
class Scene:
    canvas: Canvas
    camera: Camera
    street: Street
    light: Light
    time_s: float
    glows: list[Glow] = field(default_factory=list)

    def shade(self, color: tuple[float, ...], normal_XYS: tuple[float, float, float]) -> Color:
        red, green, blue = self.light.gain(normal_XYS)
        return min(255.0, color[0] * red), min(255.0, color[1] * green), min(255.0, color[2] * blue)

    def glow(self, point: Points, radius_px: float, color: Color) -> None:
        """A light at a fixed-point position, seen only where lights are on."""
        if self.street.look.lights_on:
            self.glows.append(Glow(float(point[0]) / 16, float(point[1]) / 16, radius_px, color))


@dataclass(frozen=True)
class Footprint:
    """The ground (X, S) that something covers, and how high it stands on it: enough to cast its shadow."""

    corners_xs: tuple[Point, ...]
    height_m: float

    @classmethod
    def rectangle(
        cls, x_m: float, s_m: float, heading: float, length_m: float, width_m: float, height_m: float
    ) -> "Footprint":
        sin, cos = math.sin(heading), math.cos(heading)
        offsets = [(a * length_m / 2, w * width_m / 2) for a, w in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
        return cls(tuple((x_m + a * sin + w * cos, s_m + a * cos - w * sin) for a, w in offsets), height_m)

    def shadow(self, scene: Scene, cast: bool) -> Points | None:
        """Its outline on the ground, together with where the sun throws it; None when far off or behind the camera."""
        if scene.camera.to_camera(*self.corners_xs[0])[1] > _SHADOWS_WITHIN_M:
            return None
        x, y, s = scene.light.sun_XYS
        reach = self.height_m / max(y, 0.3) if cast else 0.0
        thrown = [(cx - x * reach, cs - s * reach) for cx, cs in self.corners_xs] if cast else []
        placed = [scene.camera.to_camera(*corner) for corner in (*self.corners_xs, *thrown)]
        hull = cv2.convexHull(np.array(placed, np.float32))[:, 0].tolist()
        corners = _before_lens([(right, 0.0, ahead) for right, ahead in hull])
        return _fixed_pixels(scene.camera, corners) if len(corners) > 2 else None


class Board:
    """An upright plane that faces the camera at one place: local metres (across, up) to pixels."""

    def __init__(self, scene: Scene, x_m: float, s_m: float) -> None:
        self.scene = scene
        self.right_m, self.ahead_m = scene.camera.to_camera(x_m, s_m)
        self.scale = scene.camera.pixels_per_m(self.ahead_m)
        self.near = nearness(self.ahead_m)

    def pixels(self, across_up_m: Iterable[Point]) -> Points:
        project = self.scene.camera.project
        return fixed_point([project(self.right_m + across, up, self.ahead_m) for across, up in across_up_m])

    def polygon(self, across_up_m: Iterable[Point], color: Color, label: int | None) -> None:
        self.scene.canvas.polygon(self.pixels(across_up_m), color, label, self.near)

    def rectangle(self, box_m: tuple[float, float, float, float], color: Color, label: int | None) -> None:
        """(left, low, right, high) in metres."""
        left, low, right, high = box_m
        self.polygon([(left, low), (right, low), (right, high), (left, high)], color, label)

    def disc(self, center_m: Point, radius_m: float, color: Color, label: int | None) -> None:
        self.scene.canvas.disc(self.pixels([center_m])[0], radius_m * self.scale, color, label, self.near)


class Frame3d:
    """A thing's own axes (along, left-to-right, up) at a place and heading in the world."""

    def __init__(self, scene: Scene, x_m: float, s_m: float, heading: float) -> None:
        self.scene = scene
        self.sin, self.cos = math.sin(heading), math.cos(heading)
        self.right_m, self.ahead_m = scene.camera.to_camera(x_m, s_m)
        turn = heading - scene.camera.yaw
        self._sin_turn, self._cos_turn = math.sin(turn), math.cos(turn)
        self.scale = scene.camera.pixels_per_m(self.ahead_m)
        self.near = nearness(self.ahead_m)

    def _to_camera(self, points_LWU: Iterable[Point3]) -> list[Point3]:
        """(right, up, ahead) of the camera, metres."""
        sin, cos, right_m, ahead_m = self._sin_turn, self._cos_turn, self.right_m, self.ahead_m
        return [(right_m + a * sin + w * cos, up, ahead_m + a * cos - w * sin) for a, w, up in points_LWU]

    def pixels(self, points_LWU: Iterable[Point3]) -> Points:
        """Fixed-point pixels of points in own axes; depth is kept at 0.3 m or more."""
        return _fixed_pixels(self.scene.camera, self._to_camera(points_LWU))

    def normal(self, along: float, aside: float, up: float) -> Point3:
        """World (X, Y, S) of a direction in own axes."""
        return along * self.sin + aside * self.cos, up, along * self.cos - aside * self.sin

    def toward_camera(self) -> tuple[float, float]:
        """The camera's place in own axes: metres along and aside."""
        sin, cos = self._sin_turn, self._cos_turn
        return -self.right_m * sin - self.ahead_m * cos, -self.right_m * cos + self.ahead_m * sin

    def polygon(self, points_LWU: Iterable[Point3], color: Color, label: int | None) -> None:
        corners = _before_lens(self._to_camera(points_LWU))
        if len(corners) > 2:
            self.scene.canvas.polygon(_fixed_pixels(self.scene.camera, corners), color, label, self.near)

    def across(self, along_m: float, box_m: tuple[float, float, float, float], color: Color) -> None:
        """A detail on an end: (left, low, right, high) in metres."""
        left, low, right, high = box_m
        corners = [(along_m, left, low), (along_m, right, low), (along_m, right, high), (along_m, left, high)]
        self.polygon(corners, color, None)

    def limb(self, points_LWU: Iterable[Point3], width_m: float, color: Color, label: int | None) -> None:
        self.scene.canvas.limb(self.pixels(points_LWU), width_m * self.scale, color, label, self.near)

    def disc(self, center_LWU: Point3, radius_m: float, color: Color, label: int | None) -> None:
        self.scene.canvas.disc(self.pixels([center_LWU])[0], radius_m * self.scale, color, label, self.near)
