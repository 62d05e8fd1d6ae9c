"""People, and what they ride, as jointed figures of thick limbs."""

import math
from dataclasses import dataclass

import numpy as np

from clients.simulation.city.camera import NEAREST_M, Camera
from clients.simulation.city.canvas import Color
from clients.simulation.city.scene import Footprint, Frame3d, Scene
from exchange.label_space import TRAIN_ID

PERSON, RIDER = TRAIN_ID["person"], TRAIN_ID["rider"]
BICYCLE, MOTORCYCLE = TRAIN_ID["bicycle"], TRAIN_ID["motorcycle"]
_TURN = tuple((math.cos(math.pi * k / 6), math.sin(math.pi * k / 6)) for k in range(12))
_HALF_TURN = _TURN[:7]
SKIN = ((222, 180, 150), (190, 140, 106), (132, 92, 66))
CLOTHES = (
    (176, 40, 44), (40, 62, 120), (58, 62, 66), (206, 204, 196), (210, 160, 50), (60, 110, 80), (120, 66, 120),
    (226, 226, 226), (32, 34, 40), (200, 110, 70),
)  # fmt: skip
TROUSERS = ((38, 44, 66), (44, 42, 40), (96, 90, 80), (28, 28, 32), (120, 106, 84))
HELMETS = ((230, 230, 226), (214, 48, 40), (250, 200, 40), (40, 120, 210))


@dataclass(frozen=True)
class Outfit:
    top: Color
    trousers: Color
    skin: Color
    head: Color
    umbrella: Color | None

    @classmethod
    def random(cls, rng: np.random.Generator, helmet: bool = False, umbrella_share: float = 0.0) -> "Outfit":
        def pick(colors: tuple[Color, ...]) -> Color:
            return colors[rng.integers(len(colors))]

        hair = ((52, 36, 26), (26, 22, 20), (140, 108, 60), (90, 88, 86))
        return cls(
            top=pick(CLOTHES),
            trousers=pick(TROUSERS),
            skin=pick(SKIN),
            head=pick(HELMETS) if helmet else pick(hair),
            umbrella=pick(CLOTHES) if rng.random() < umbrella_share else None,
        )


@dataclass(frozen=True)
class Person:
    """Somebody standing (`stride` 0) or walking; `phase` is where in the step they are, in radians."""

    x_m: float
    s_m: float
    heading: float
    outfit: Outfit
    phase: float
    stride: float
    size: float

    def ahead_m(self, camera: Camera) -> float | None:
        return camera.depth_if_seen(self.x_m, self.s_m, 1.5)

    def draw(self, scene: Scene) -> None:
        frame = Frame3d(scene, self.x_m, self.s_m, self.heading)
        if frame.ahead_m < NEAREST_M + 0.8:
            return
        k, swing = self.size, self.stride * math.sin(self.phase)
        side = (0.7, 0.2, 0.4)
        top, legs = scene.shade(self.outfit.top, side), scene.shade(self.outfit.trousers, side)
        if frame.scale < 16:
            frame.limb([(0, -0.08, 0.95 * k), (0.2 * swing, -0.1, 0.05)], 0.2 * k, legs, PERSON)
            frame.limb([(0, 0.08, 0.95 * k), (-0.2 * swing, 0.1, 0.05)], 0.2 * k, legs, PERSON)
            frame.limb([(0, 0, 0.95 * k), (0, 0, 1.38 * k)], 0.46 * k, top, PERSON)
            frame.disc((0, 0, 1.68 * k), 0.13 * k, scene.shade(self.outfit.head, side), PERSON)
            return
        skin, shoes = scene.shade(self.outfit.skin, side), scene.shade((30, 28, 28), side)
        for aside, step in ((-0.1, swing), (0.1, -swing)):
            lift = max(0.0, step) * 0.12
            foot = (0.36 * step * k, aside * k, 0.06 + lift)
            knee = (0.24 * step * k + 0.03, aside * k, 0.48 * k)
            frame.limb([(0, aside * k * 0.8, 0.9 * k), knee, foot], 0.17 * k, legs, PERSON)
            frame.limb([foot, (foot[0] + 0.13, foot[1], foot[2] - 0.02)], 0.1, shoes, PERSON)
        for aside, step in ((-0.26, -swing), (0.26, swing)):
            elbow = (0.14 * step * k, aside * k * 1.05, 1.14 * k)
            hand = (0.32 * step * k + 0.05, aside * k, 0.92 * k)
            frame.limb([(0, aside * k * 0.85, 1.4 * k), elbow, hand], 0.12 * k, tuple(v * 0.85 for v in top), PERSON)
        frame.limb([(0, 0, 0.95 * k), (0, 0, 1.33 * k)], 0.38 * k, top, PERSON)
        frame.limb([(0, -0.14 * k, 1.38 * k), (0, 0.14 * k, 1.38 * k)], 0.2 * k, top, PERSON)
        frame.limb([(0, 0, 1.45 * k), (0.02, 0, 1.56 * k)], 0.13 * k, skin, PERSON)
        frame.disc((0.03, 0, 1.66 * k), 0.125 * k, skin, PERSON)
        frame.disc((-0.02, 0, 1.7 * k), 0.115 * k, scene.shade(self.outfit.head, side), PERSON)
        if self.outfit.umbrella:
            canopy = [(0.0, 0.62 * k * across, 1.78 * k + 0.42 * k * up) for across, up in _HALF_TURN]
            frame.polygon(canopy, scene.shade(self.outfit.umbrella, (0, 0.8, 0)), PERSON)

    def footprint(self) -> Footprint:
        return Footprint.rectangle(self.x_m, self.s_m, self.heading, 0.5, 0.5, 1.7 * self.size)


def _wheel(frame: Frame3d, along_m: float, radius_m: float, tyre_m: float, label: int, filled: bool) -> None:
    ring = [(along_m + radius_m * a, 0.0, radius_m * (1 + b)) for a, b in _TURN]
    frame.polygon(ring, (44, 44, 46) if filled else (96, 98, 100), label)
    if not filled and frame.scale > 40:
        for a in range(0, 6, 2):
            frame.limb([ring[a], ring[a + 6]], 0.012, (170, 172, 174), None)
    frame.limb([*ring, ring[0]], tyre_m, (22, 22, 24), label if frame.scale > 30 else None)


@dataclass(frozen=True)
class TwoWheeler:
    """A bicycle or motorcycle, parked or with its rider."""

    motor: bool
    x_m: float
    s_m: float
    heading: float
    paint: Color
    rider: Outfit | None
    phase: float = 0.0

    def ahead_m(self, camera: Camera) -> float | None:
        return camera.depth_if_seen(self.x_m, self.s_m, 1.5)

    def draw(self, scene: Scene) -> None:
        frame = Frame3d(scene, self.x_m, self.s_m, self.heading)
        if frame.ahead_m < NEAREST_M + 1.2:
            return
        if self.motor:
            self._draw_motorcycle(scene, frame)
        else:
            self._draw_bicycle(scene, frame)
        if self.rider:
            self._draw_rider(scene, frame, self.rider)

    def _draw_bicycle(self, scene: Scene, frame: Frame3d) -> None:
        paint = scene.shade(self.paint, (0.6, 0.4, 0.4))
        for along in (-0.54, 0.54):
            _wheel(frame, along, 0.35, 0.07, BICYCLE, filled=False)
        saddle, crank, head, fork = (-0.22, 0, 0.86), (-0.06, 0, 0.34), (0.4, 0, 0.84), (0.54, 0, 0.35)
        frame.limb([(-0.54, 0, 0.35), crank, head, saddle, (-0.54, 0, 0.35)], 0.07, paint, BICYCLE)
        frame.limb([crank, saddle, (-0.24, 0, 0.96)], 0.07, paint, BICYCLE)
        frame.limb([fork, head, (0.36, 0, 1.04)], 0.07, paint, BICYCLE)
        frame.limb([(0.34, -0.28, 1.05), (0.34, 0.28, 1.05)], 0.06, (40, 40, 42), BICYCLE)
        frame.limb([(-0.36, 0, 0.96), (-0.12, 0, 0.97)], 0.12, (30, 28, 28), BICYCLE)

    def _draw_motorcycle(self, scene: Scene, frame: Frame3d) -> None:
        paint, metal = scene.shade(self.paint, (0.6, 0.4, 0.4)), scene.shade((120, 122, 126), (0.5, 0.4, 0.4))
        for along in (-0.72, 0.72):
            _wheel(frame, along, 0.33, 0.16, MOTORCYCLE, filled=True)
        frame.limb([(-0.35, 0, 0.42), (0.25, 0, 0.42)], 0.4, metal, MOTORCYCLE)
        frame.limb([(-0.8, 0, 0.74), (-0.2, 0, 0.74)], 0.2, (28, 28, 30), MOTORCYCLE)
        frame.limb([(-0.95, 0, 0.8), (-0.7, 0, 0.72)], 0.18, paint, MOTORCYCLE)
        frame.limb([(-0.1, 0, 0.82), (0.3, 0, 0.86)], 0.34, paint, MOTORCYCLE)
        frame.limb([(0.72, 0, 0.36), (0.46, 0, 1.0)], 0.12, metal, MOTORCYCLE)
        frame.limb([(0.4, -0.36, 1.06), (0.4, 0.36, 1.06)], 0.08, (34, 34, 36), MOTORCYCLE)
        frame.limb([(0.54, 0, 0.88), (0.6, 0, 0.94)], 0.26, paint, MOTORCYCLE)
        along, _ = frame.toward_camera()
        lamp = (0.66 if along > 0 else -1.0, 0.0, 0.9)
        color: Color = (255, 248, 220) if along > 0 else (220, 30, 24)
        frame.disc(lamp, 0.08, color, None)
        if self.rider:
            scene.glow(frame.pixels([lamp])[0], 0.25 * frame.scale, color)

    def _draw_rider(self, scene: Scene, frame: Frame3d, outfit: Outfit) -> None:
        side = (0.7, 0.2, 0.4)
        top, legs = scene.shade(outfit.top, side), scene.shade(outfit.trousers, side)
        seat = 0.92 if self.motor else 1.02
        lean = 0.3 if self.motor else 0.36
        for aside, turn in ((-0.13, self.phase), (0.13, self.phase + math.pi)):
            if self.motor:
                knee, foot = (0.3, aside * 2, 0.72), (0.0, aside * 2, 0.36)
            else:
                foot = (-0.06 + 0.17 * math.cos(turn), aside, 0.34 + 0.17 * math.sin(turn))
                knee = (0.22 + 0.08 * math.cos(turn), aside, 0.76 + 0.12 * math.sin(turn))
            frame.limb([(-0.22, aside * 0.7, seat), knee, foot], 0.17, legs, RIDER)
            frame.limb([foot, (foot[0] + 0.14, foot[1], foot[2])], 0.1, (30, 28, 28), RIDER)
        shoulder = (-0.22 + lean, 0.0, seat + 0.52)
        frame.limb([(-0.22, 0, seat + 0.04), shoulder], 0.36, top, RIDER)
        hand_up = 1.06 if self.motor else 1.07
        for aside in (-0.27, 0.27):
            elbow = (0.18, aside * 1.1, (shoulder[2] + hand_up) / 2 - 0.06)
            frame.limb([(shoulder[0], aside * 0.7, shoulder[2]), elbow, (0.38, aside, hand_up)], 0.13, top, RIDER)
        frame.disc((shoulder[0] + 0.1, 0, shoulder[2] + 0.26), 0.12, scene.shade(outfit.skin, side), RIDER)
        radius = 0.17 if self.motor else 0.13
        frame.disc((shoulder[0] + 0.07, 0, shoulder[2] + 0.31), radius, scene.shade(outfit.head, side), RIDER)

    def footprint(self) -> Footprint:
        height = 1.7 if self.rider else 1.0
        return Footprint.rectangle(self.x_m, self.s_m, self.heading, 1.8, 0.5 if self.motor else 0.25, height)
