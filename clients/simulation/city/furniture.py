"""What stands along the street: lamps, traffic lights, signs, trees."""

import math
from dataclasses import dataclass

from clients.simulation.city.camera import NEAREST_M, Camera
from clients.simulation.city.canvas import Color
from clients.simulation.city.scene import Board, Footprint, Scene
from clients.simulation.city.upright_plane import Texture, UprightPlane
from exchange.label_space import TRAIN_ID

POLE, SIGNAL, SIGN = TRAIN_ID["pole"], TRAIN_ID["traffic light"], TRAIN_ID["traffic sign"]
VEGETATION = TRAIN_ID["vegetation"]
STEEL = (116, 120, 122)
SIGN_KINDS = ("ban", "warning", "order", "parking", "priority", "stop", "board")
_SIDE = (0.5, 0.2, -0.6)


@dataclass(frozen=True)
class Lamp:
    """A street lamp whose arm reaches over the road; `side` is +1 on the right."""

    s_m: float
    u_m: float
    x_m: float
    side: int
    height_m: float

    def ahead_m(self, camera: Camera) -> float | None:
        return camera.depth_if_seen(self.x_m, self.s_m, 2.1)

    def draw(self, scene: Scene) -> None:
        board = Board(scene, self.x_m, self.s_m)
        if board.ahead_m < NEAREST_M:
            return
        color = scene.shade(STEEL, _SIDE)
        board.polygon([(-0.11, 0), (0.11, 0), (0.08, self.height_m), (-0.08, self.height_m)], color, POLE)
        board.rectangle((-0.17, 0, 0.17, 1.0), tuple(v * 0.8 for v in color), POLE)
        reach, top = -self.side * 1.6, self.height_m
        board.polygon([(0, top), (reach, top + 0.45), (reach, top + 0.58), (0, top + 0.16)], color, POLE)
        head = [
            (reach - 0.4, top + 0.42),
            (reach + 0.4, top + 0.42),
            (reach + 0.3, top + 0.62),
            (reach - 0.3, top + 0.62),
        ]
        on = scene.street.look.lamps_on
        board.polygon(head, (255, 232, 180) if on else tuple(v * 0.9 for v in color), POLE)
        if on:
            scene.glow(board.pixels([(reach, top + 0.42)])[0], 0.6 * board.scale, (255, 206, 130))

    def footprint(self) -> Footprint:
        return Footprint.rectangle(self.x_m, self.s_m, 0.0, 0.25, 0.25, self.height_m)


@dataclass(frozen=True)
class Signal:
    """A traffic light on its pole, with a second head on an arm over the road when `arm_m` is not 0."""

    s_m: float
    x_m: float
    arm_m: float
    facing: bool
    phase_s: float

    def ahead_m(self, camera: Camera) -> float | None:
        return camera.depth_if_seen(self.x_m, self.s_m, abs(self.arm_m) + 0.5)

    def draw(self, scene: Scene) -> None:
        board = Board(scene, self.x_m, self.s_m)
        if board.ahead_m < NEAREST_M:
            return
        steel = scene.shade((96, 100, 102), _SIDE)
        height = 5.6 if self.arm_m else 3.7
        board.rectangle((-0.1, 0, 0.1, height), steel, POLE)
        if self.arm_m:
            low, high = sorted((0.0, self.arm_m))
            board.rectangle((low, height - 0.2, high, height), steel, POLE)
            self._draw_head(scene, board, self.arm_m, height - 1.25)
        self._draw_head(scene, board, 0.0, 2.5)

    def _draw_head(self, scene: Scene, board: Board, across: float, low: float) -> None:
        """A dark box of three lamps in a pale rim; from behind, the box alone."""
        rim = scene.shade((232, 226, 204), _SIDE)
        board.rectangle((across - 0.36, low - 0.08, across + 0.36, low + 1.36), rim, SIGNAL)
        box: Color = scene.shade((22, 24, 22), _SIDE)
        board.rectangle((across - 0.29, low, across + 0.29, low + 1.28), box, SIGNAL)
        if not self.facing:
            return
        cycle = (scene.time_s + self.phase_s) % 24
        lit_lamp = 0 if cycle < 10 else 1 if cycle < 12 else 2
        for lamp, (bright, dim) in enumerate(
            (((70, 255, 150), (22, 58, 38)), ((255, 190, 40), (70, 54, 20)), ((255, 48, 36), (72, 20, 18)))
        ):
            center = (across, low + 0.24 + 0.4 * lamp)
            color: Color = bright if lamp == lit_lamp else dim
            board.disc(center, 0.17, color, None)
            if lamp == lit_lamp:
                scene.glow(board.pixels([center])[0], 0.3 * board.scale, color)

    def footprint(self) -> Footprint:
        return Footprint.rectangle(self.x_m, self.s_m, 0.0, 0.25, 0.25, 3.7)


@dataclass(frozen=True)
class Sign:
    """One or two traffic signs on a pole, facing those who come along the street."""

    s_m: float
    x_m: float
    kinds: tuple[str, ...]

    def ahead_m(self, camera: Camera) -> float | None:
        return camera.depth_if_seen(self.x_m, self.s_m, 1.1)

    def draw(self, scene: Scene) -> None:
        board = Board(scene, self.x_m, self.s_m)
        if board.ahead_m < NEAREST_M:
            return
        top = 2.55 + 0.95 * (len(self.kinds) - 1)
        board.rectangle((-0.075, 0, 0.075, top + 0.35), scene.shade(STEEL, _SIDE), POLE)
        for index, kind in enumerate(self.kinds):
            self._draw_plate(scene, board, kind, 2.55 + 0.95 * index)

    def _draw_plate(self, scene: Scene, board: Board, kind: str, up: float) -> None:
        def paint(*rgb: float) -> Color:
            return scene.shade(tuple(v * 1.1 for v in rgb), (0, 0.2, -0.9))

        def ring(sides: int, radius: float, turn: float) -> list[tuple[float, float]]:
            angles = [turn + 2 * math.pi * k / sides for k in range(sides)]
            return [(radius * math.cos(a), up + radius * math.sin(a)) for a in angles]

        red, white, blue, black = paint(206, 30, 34), paint(240, 240, 238), paint(24, 76, 168), paint(30, 30, 30)
        if kind == "ban":
            board.disc((0, up), 0.44, red, SIGN)
            board.disc((0, up), 0.31, white, None)
            board.rectangle((-0.14, up - 0.13, 0.14, up + 0.13), black, None)
        elif kind == "warning":
            board.polygon(ring(3, 0.55, math.pi / 2), red, SIGN)
            board.polygon(ring(3, 0.34, math.pi / 2), white, None)
            board.rectangle((-0.04, up - 0.1, 0.04, up + 0.16), black, None)
        elif kind == "order":
            board.disc((0, up), 0.44, blue, SIGN)
            board.polygon([(-0.08, up - 0.3), (0.08, up - 0.3), (0.08, up + 0.05), (-0.08, up + 0.05)], white, None)
            board.polygon([(-0.22, up + 0.02), (0.22, up + 0.02), (0, up + 0.32)], white, None)
        elif kind == "parking":
            board.rectangle((-0.42, up - 0.42, 0.42, up + 0.42), blue, SIGN)
            board.rectangle((-0.16, up - 0.28, -0.04, up + 0.28), white, None)
            board.disc((0.02, up + 0.13), 0.15, white, None)
        elif kind == "priority":
            board.polygon(ring(4, 0.52, 0), white, SIGN)
            board.polygon(ring(4, 0.38, 0), paint(246, 196, 36), None)
        elif kind == "stop":
            board.polygon(ring(8, 0.48, math.pi / 8), white, SIGN)
            board.polygon(ring(8, 0.43, math.pi / 8), red, None)
            board.rectangle((-0.28, up - 0.08, 0.28, up + 0.08), white, None)
        else:
            board.rectangle((-1.0, up - 0.35, 1.0, up + 0.65), white, SIGN)
            board.rectangle((-0.95, up - 0.3, 0.95, up + 0.6), paint(26, 104, 72), None)
            for row in (-0.1, 0.25):
                board.rectangle((-0.75, up + row, 0.4, up + row + 0.14), white, None)

    def footprint(self) -> Footprint:
        return Footprint.rectangle(self.x_m, self.s_m, 0.0, 0.2, 0.2, 2.6)


@dataclass(frozen=True)
class Tree:
    """A trunk and a crown; all of it is vegetation."""

    s_m: float
    u_m: float
    x_m: float
    height_m: float
    width_m: float
    crown: Texture
    behind_m: float
    """added to its depth when things are sorted: a tree in a garden stands behind the fence"""

    def ahead_m(self, camera: Camera) -> float | None:
        ahead = camera.depth_if_seen(self.x_m, self.s_m, self.width_m / 2)
        return None if ahead is None else ahead + self.behind_m

    def draw(self, scene: Scene) -> None:
        board = Board(scene, self.x_m, self.s_m)
        if board.ahead_m < NEAREST_M + 0.5:
            return
        bark = scene.shade((88, 72, 56), _SIDE)
        fork = self.height_m * 0.55
        board.polygon([(-0.2, 0), (0.2, 0), (0.12, fork), (-0.12, fork)], bark, VEGETATION)
        board.polygon([(0.04, 0), (0.2, 0), (0.12, fork), (0.02, fork)], tuple(v * 0.7 for v in bark), None)
        left, right = board.right_m - self.width_m / 2, board.right_m + self.width_m / 2
        plane = UprightPlane((left, board.ahead_m), (right, board.ahead_m), (self.height_m * 0.3, self.height_m))
        plane.paint(scene.canvas, scene.camera, self.crown, VEGETATION)

    def footprint(self) -> None:
        return None
