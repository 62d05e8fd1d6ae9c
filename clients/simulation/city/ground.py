"""The ground: a map of each cell of street, and its picture in the camera."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from clients.simulation.city.camera import HEIGHT_M, Camera
from clients.simulation.city.canvas import Bytes, Canvas, nearness_of
from clients.simulation.city.layout import CellPlan
from clients.simulation.city.materials import asphalt, clouded_noise, grass, paving, speckle
from clients.simulation.city.street import CELL_M, JUNCTION_M, Floats, Light, Street, random_stream
from exchange.label_space import TRAIN_ID

TEXEL_M = 0.0625
HALF_WIDTH_M = 26.0
CELLS_AHEAD = 4
# Along the street the ground is seen at a grazing angle: further away, rows of the map are averaged.
_LEVELS = ((1, 10.0), (4, 22.0), (16, 1e9))
ROAD, SIDEWALK, TERRAIN = TRAIN_ID["road"], TRAIN_ID["sidewalk"], TRAIN_ID["terrain"]
_ROWS, _COLUMNS = round(CELL_M / TEXEL_M), round(2 * HALF_WIDTH_M / TEXEL_M)


def _box(s0: float, s1: float, u0: float, u1: float) -> tuple[slice, slice]:
    rows = slice(max(0, round(s0 / TEXEL_M)), max(0, round(s1 / TEXEL_M)))
    return rows, slice(max(0, round((u0 + HALF_WIDTH_M) / TEXEL_M)), max(0, round((u1 + HALF_WIDTH_M) / TEXEL_M)))


@dataclass(frozen=True)
class GroundMap:
    """Labels uint8 [rows, columns] and colours at each level of averaging along the street."""

    labels: Bytes
    levels: tuple[Bytes, ...]


class Ground:
    """Draws the ground of one drive; keeps the maps of the last few cells."""

    def __init__(self, street: Street, light: Light, seed: int, plan_of_cell: Callable[[int], CellPlan]) -> None:
        self.street, self.light, self.seed, self._plan = street, light, seed, plan_of_cell
        rng = random_stream(street.look, seed, 4)
        shape = (_ROWS // 2, _COLUMNS)
        self._materials = {
            ROAD: np.tile(asphalt(rng, shape, rng.uniform(78, 112)), (2, 1, 1)),
            SIDEWALK: np.tile(paving(rng, shape, 1 / TEXEL_M), (2, 1, 1)),
            TERRAIN: np.tile(grass(rng, shape), (2, 1, 1)),
        }
        self._grain = np.clip(128 + speckle(rng, (512, 512), 13), 0, 255).astype(np.uint8)
        puddles = clouded_noise(rng, (512, 512), 6, 4)
        self._puddles = np.clip(120 + puddles * 150, 40, 255).astype(np.uint8)
        self._strip = functools.lru_cache(maxsize=2)(self._strip_of_cells)
        self._cell = functools.lru_cache(maxsize=CELLS_AHEAD + 2)(self._map_of_cell)

    def draw(self, canvas: Canvas, camera: Camera) -> Bytes:
        """Paints all rows below the horizon; returns how mirror-like they are where wet, uint8 [rows, W]."""
        first_row = int(camera.horizon_px) + 2
        rows = np.arange(first_row, camera.size_hw[0], dtype=np.float32)
        ahead = (HEIGHT_M * camera.focal_px / (rows + 0.5 - camera.horizon_px)).astype(np.float32)
        slope = (np.arange(camera.size_hw[1], dtype=np.float32) + 0.5 - camera.middle_px) / camera.focal_px
        right = ahead[:, None] * slope[None]
        cos, sin = np.float32(np.cos(camera.yaw)), np.float32(np.sin(camera.yaw))
        first_cell = int(camera.s_m // CELL_M)
        strip = self._strip(first_cell)
        s = (ahead * cos + np.float32(camera.s_m - first_cell * CELL_M))[:, None] - right * sin
        bends = self.street.center(first_cell * CELL_M + np.arange(-60, (CELLS_AHEAD + 3) * CELL_M, 0.25))
        center = bends.astype(np.float32)[np.clip((s + 60) * 4, 0, len(bends) - 1).astype(np.int32)]
        u = (ahead * sin + np.float32(camera.x_m))[:, None] + right * cos - center
        map_u = (u + np.float32(HALF_WIDTH_M)) / np.float32(TEXEL_M) - np.float32(0.5)
        map_s = s / np.float32(TEXEL_M)
        nearest = 0.0
        for level, (factor, farthest) in zip(strip.levels, _LEVELS, strict=True):
            inside = np.flatnonzero((ahead >= nearest) & (ahead < farthest))
            nearest = farthest
            if len(inside) == 0:
                continue
            band = slice(inside[0], inside[-1] + 1)
            map_level = map_s[band] / np.float32(factor) - np.float32(0.5)
            painted = cv2.remap(level, map_u[band], map_level, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            if factor == 1:
                painted = self._with_grain(painted, u[band], s[band])
            canvas.image[first_row + band.start : first_row + band.stop] = painted
        canvas.labels[first_row:] = cv2.remap(
            strip.labels, map_u, map_s - np.float32(0.5), cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
        )
        canvas.near[first_row:] = nearness_of(ahead)[:, None]
        if self.street.look.wetness == 0:
            return np.zeros((0, 0), np.uint8)
        return cv2.remap(self._puddles, u * 24, s * 8, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)

    def _with_grain(self, painted: Bytes, u: Floats, s: Floats) -> Bytes:
        """Grit of 1.5 cm on the nearest ground, finer than the map holds."""
        grain = cv2.remap(self._grain, u * 66, s * 40, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        return cv2.addWeighted(painted, 1.0, cv2.merge([grain] * 3), 0.6, -77)

    def _strip_of_cells(self, first_cell: int) -> GroundMap:
        cells = [self._cell(index) for index in range(first_cell, first_cell + CELLS_AHEAD)]
        return GroundMap(
            labels=np.concatenate([cell.labels for cell in cells]),
            levels=tuple(np.concatenate([cell.levels[k] for cell in cells]) for k in range(len(_LEVELS))),
        )

    def _map_of_cell(self, index: int) -> GroundMap:
        plan = self._plan(index)
        labels = self._surfaces(plan)
        color = self._materials[ROAD].copy()
        for label in (SIDEWALK, TERRAIN):
            cv2.copyTo(self._materials[label], (labels == label).astype(np.uint8), color)
        self._kerbs(color, labels)
        self._markings(color, plan, random_stream(self.street.look, self.seed, 5, index))
        color = self._lit(color, plan)
        levels = tuple(
            cv2.resize(color, (_COLUMNS, _ROWS // factor), interpolation=cv2.INTER_AREA) if factor > 1 else color
            for factor, _ in _LEVELS
        )
        return GroundMap(labels, levels)

    def _surfaces(self, plan: CellPlan) -> Bytes:
        street = self.street
        labels = np.full((_ROWS, _COLUMNS), TERRAIN, np.uint8)
        for side in (-1, 1):

            def span(u0: float, u1: float, side: int = side) -> tuple[float, float]:
                return (u0, u1) if side > 0 else (-u1, -u0)

            labels[_box(0, CELL_M, *span(0, street.road_half_m))] = ROAD
            walk = street.road_half_m + street.verge_m
            labels[_box(0, CELL_M, *span(walk, street.front_m + 0.25))] = SIDEWALK
            for lot in plan.lots:
                if lot.side == side and lot.paved:
                    labels[_box(lot.s0 - plan.s_m, lot.s1 - plan.s_m, *span(street.front_m, HALF_WIDTH_M))] = SIDEWALK
            if plan.junction:
                start = CELL_M - JUNCTION_M
                labels[_box(start, CELL_M, *span(street.road_half_m, HALF_WIDTH_M))] = SIDEWALK
                labels[_box(start + 3, CELL_M - 3, *span(street.road_half_m, HALF_WIDTH_M))] = ROAD
        return labels

    def _kerbs(self, color: Bytes, labels: Bytes) -> None:
        """A light stone edge on the far side of each road border, with a dark gutter before it."""
        road = (labels == ROAD).astype(np.uint8)
        grown = cv2.dilate(road, np.ones((7, 7), np.uint8))
        shrunk = cv2.erode(road, np.ones((5, 5), np.uint8))
        color[(grown - road) > 0] = (186, 184, 178)
        gutter = (road - shrunk) > 0
        color[gutter] = color[gutter] // 2

    def _markings(self, color: Bytes, plan: CellPlan, rng: np.random.Generator) -> None:
        street, paint = self.street, (226, 226, 220)
        end = CELL_M - JUNCTION_M if plan.junction else CELL_M
        for s in np.arange(0, end - 3, 6.0):
            color[_box(s, s + 3, -0.08, 0.08)] = paint
        edge = street.look.lane_m
        for u in (-edge, edge):
            if street.look.cycle_lane_m > 1:
                color[_box(0, end, u - 0.06, u + 0.06)] = paint
        for _ in range(rng.integers(2, 6)):
            s, u = rng.uniform(0, end - 4), rng.uniform(-edge, edge)
            patch = _box(s, s + rng.uniform(1, 5), u, u + rng.uniform(0.6, 2.0))
            color[patch] = (color[patch] * rng.uniform(0.72, 0.9)).astype(np.uint8)
        for _ in range(rng.integers(1, 4)):
            center = (round((rng.uniform(-edge, edge) + HALF_WIDTH_M) / TEXEL_M), round(rng.uniform(0, end) / TEXEL_M))
            cv2.circle(color, center, 6, (58, 56, 54), cv2.FILLED)
        for _ in range(rng.integers(2, 6)):
            drift, start = np.array([0, 0.35]), np.array([HALF_WIDTH_M + rng.uniform(-6, 6), rng.uniform(0, 50)])
            path = start + np.cumsum(rng.normal(0, 0.3, (12, 2)) + drift, axis=0)
            points = np.rint(path / TEXEL_M).astype(np.int32)
            cv2.polylines(color, [points], False, (52, 52, 54), 1, cv2.LINE_AA)
        if plan.crossing_s_m is not None:
            s = plan.crossing_s_m - plan.s_m
            for u in np.arange(-street.road_half_m + 0.4, street.road_half_m - 0.4, 1.0):
                color[_box(s - 1.6, s + 1.6, u, u + 0.5)] = paint
            color[_box(s - 3.4, s - 3.0, 0.15, street.look.lane_m)] = paint
            color[_box(s + 3.0, s + 3.4, -street.look.lane_m, -0.15)] = paint

    def _lit(self, color: Bytes, plan: CellPlan) -> Bytes:
        """Sun and ambient light, the shade of houses and trees, pools of lamp light."""
        light = self.light
        scale = 4
        shade = np.zeros((_ROWS // scale, _COLUMNS // scale), np.uint8)

        def texel(s: float, u: float) -> tuple[int, int]:
            return round((u + HALF_WIDTH_M) / TEXEL_M / scale), round((s - plan.s_m) / TEXEL_M / scale)

        throw = [-v / max(light.sun_XYS[1], 0.2) for v in light.sun_XYS]
        for lot in plan.lots:
            if lot.building_height_m > 0:
                reach = [v * lot.building_height_m for v in throw]
                front = lot.side * lot.front_m(self.street)
                corners = [(lot.s0, front), (lot.s1, front), (lot.s1 + reach[2], front + reach[0]),
                           (lot.s0 + reach[2], front + reach[0])]  # fmt: skip
                cv2.fillConvexPoly(shade, np.array([texel(*c) for c in corners]), (255,))
        for tree in plan.trees:
            reach = [v * tree.height_m * 0.65 for v in throw]
            radius = round(tree.width_m * 0.42 / TEXEL_M / scale)
            cv2.circle(shade, texel(tree.s_m + reach[2], tree.u_m + reach[0]), radius, (255,), cv2.FILLED)
            cv2.circle(shade, texel(tree.s_m, tree.u_m), max(1, radius // 3), (160,), cv2.FILLED)
        sunny = 1 - cv2.blur(shade, (5, 5))[..., None].astype(np.float32) / 255
        gain = (
            np.asarray(light.ambient_rgb, np.float32) + np.asarray(light.sun_rgb, np.float32) * light.sun_XYS[1] * sunny
        )
        if self.street.look.lamps_on:
            rows, columns = np.mgrid[0 : gain.shape[0], 0 : gain.shape[1]].astype(np.float32)
            for lamp in plan.lamps:
                x, y = texel(lamp.s_m, lamp.u_m - lamp.side * 1.6)
                distance2 = ((columns - x) ** 2 + (rows - y) ** 2) * (scale * TEXEL_M) ** 2
                gain = gain + np.exp(distance2 / -22)[..., None] * np.array((0.50, 0.40, 0.24), np.float32)
        wide_gain = cv2.resize(gain.astype(np.float32), (_COLUMNS, _ROWS), interpolation=cv2.INTER_LINEAR)
        return cv2.multiply(color, wide_gain, dtype=cv2.CV_8U)
