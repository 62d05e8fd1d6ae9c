"""A drive through the simulated city: any of its moments as an image with exact labels."""

from dataclasses import dataclass

import cv2
import numpy as np

from clients.simulation.city.camera import HORIZON_SHARE, Camera
from clients.simulation.city.canvas import Bytes, Canvas
from clients.simulation.city.domains import DOMAINS
from clients.simulation.city.ground import CELLS_AHEAD, Ground
from clients.simulation.city.layout import CellPlan, Drawable
from clients.simulation.city.planning import CityPlanner
from clients.simulation.city.scene import Scene
from clients.simulation.city.sky import Sky
from clients.simulation.city.street import CELL_M, Light, Street, random_stream
from clients.simulation.city.traffic import Ego, Traffic
from clients.simulation.city.weather import Weather

SMALLEST_HW = (64, 64)
MULTIPLE = 8


@dataclass(frozen=True)
class SimulatedFrame:
    """One moment: uint8 RGB image [H, W, 3], train ids uint8 [H, W], and when it was seen."""

    image_HW3: Bytes
    labels_HW: Bytes
    time_s: float
    index: int


def check_drive(domain: str, seed: int, size_hw: tuple[int, int]) -> None:
    """Raises ValueError, saying what would do, for what no drive can be made of."""
    if domain not in DOMAINS:
        raise ValueError(f"unknown domain {domain!r}: choose one of {', '.join(DOMAINS)}")
    if seed < 0:
        raise ValueError(f"the seed must not be negative, but is {seed}")
    if any(side % MULTIPLE or side < least for side, least in zip(size_hw, SMALLEST_HW, strict=True)):
        raise ValueError(f"frames must be at least 64x64 and multiples of {MULTIPLE}, not {size_hw[0]}x{size_hw[1]}")


class SimulatedDrive:
    """A drive along one street of one domain. Each frame depends on (domain, seed, size, frame rate, index) alone.

    Raises ValueError for an unknown domain, a negative seed, a size that is not a multiple of 8 or below 64 x 64,
    or a frame rate that is not positive.
    """

    def __init__(
        self, domain: str, seed: int, size_hw: tuple[int, int] = (512, 1024), frames_per_s: float = 5.0
    ) -> None:
        check_drive(domain, seed, size_hw)
        if not frames_per_s > 0:
            raise ValueError(f"frames_per_s must be positive, but is {frames_per_s}")
        look = DOMAINS[domain]
        self.domain, self.seed, self.size_hw, self.frames_per_s = domain, seed, size_hw, frames_per_s
        rng = random_stream(look, seed, 0)
        self._look = look
        self._street, self._light = Street.of_drive(look, seed), Light.of_drive(look, seed)
        self._ego = Ego(float(rng.uniform(7.5, 10.0)), float(rng.uniform(0, CELL_M)))
        self._planner = CityPlanner(self._street, self._light, seed)
        self._traffic = Traffic(self._street, self._ego, seed)
        self._ground = Ground(self._street, self._light, seed, self._planner.plan)
        self._weather = Weather(self._street, seed, size_hw)
        self._sky = Sky(look, seed, self._light, round(HORIZON_SHARE * size_hw[0]), size_hw[1])

    def frame(self, index: int) -> SimulatedFrame:
        """The moment `index` frames after the start; random access, never negative."""
        if index < 0:
            raise ValueError(f"frames count from 0, but {index} was asked for")
        time_s = index / self.frames_per_s
        rng = random_stream(self._look, self.seed, 7, index)
        scene = Scene(Canvas(self.size_hw), self._camera(time_s, rng), self._street, self._light, time_s)
        first_cell = int(scene.camera.s_m // CELL_M)
        plans = {cell: self._planner.plan(cell) for cell in range(first_cell, first_cell + CELLS_AHEAD)}
        self._paint_sky(scene)
        mirrors = self._ground.draw(scene.canvas, scene.camera)
        self._paint_things(scene, plans)
        image = self._weather.apply(scene, mirrors, rng)
        return SimulatedFrame(image, scene.canvas.labels, time_s, index)

    def _camera(self, time_s: float, rng: np.random.Generator) -> Camera:
        s = self._ego.s_m(time_s)
        x, _ = self._street.place(s, self._street.lane_center_m)
        sway = float(rng.normal(0, 0.004)) * self.size_hw[0]
        return Camera(self.size_hw, x, s, self._street.heading(s), sway)

    def _paint_sky(self, scene: Scene) -> None:
        rows = int(scene.camera.horizon_px) + 2
        yaw_px = float(np.tan(scene.camera.yaw)) * scene.camera.focal_px
        image, labels = self._sky.window(yaw_px, self.size_hw[1], rows)
        scene.canvas.image[:rows], scene.canvas.labels[:rows] = image, labels

    def _paint_things(self, scene: Scene, plans: dict[int, CellPlan]) -> None:
        standing = (thing for plan in plans.values() for thing in plan.drawables)
        things = [*standing, *self._traffic.at(scene.time_s, plans)]
        placed = [(ahead, n) for n, thing in enumerate(things) if (ahead := thing.ahead_m(scene.camera)) is not None]
        visible = [things[n] for _, n in sorted(placed, reverse=True)]
        self._paint_shadows(scene, visible)
        for thing in visible:
            thing.draw(scene)

    def _paint_shadows(self, scene: Scene, things: list[Drawable]) -> None:
        """Darkens the ground under what stands on it and, when the sun is out, beside it."""
        first = int(scene.camera.horizon_px) + 2
        shape = (self.size_hw[0] - first, self.size_hw[1])
        under, beside = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
        sunny = max(self._light.sun_rgb) > 0.2
        footprints = [footprint for thing in things if (footprint := thing.footprint()) is not None]
        for footprint in footprints:
            for picture, cast in ((under, False), (beside, True))[: 2 if sunny else 1]:
                outline = footprint.shadow(scene, cast)
                if outline is not None:
                    cv2.fillConvexPoly(picture, outline - (0, first * 16), (255,), shift=4)
        remaining = cv2.addWeighted(cv2.blur(under, (5, 3)), -0.6, cv2.blur(beside, (5, 3)), -0.3, 255)
        below = scene.canvas.image[first:]
        cv2.multiply(below, cv2.merge([remaining] * 3), dst=below, scale=1 / 255)
