"""Plans the cells of one drive's street; the same cell always gets the same plan."""

import functools
import itertools
import math
from dataclasses import dataclass, field

import numpy as np

from clients.simulation.city import facades
from clients.simulation.city.domain_look import Rgb
from clients.simulation.city.figures import CLOTHES, HELMETS, TwoWheeler
from clients.simulation.city.furniture import SIGN_KINDS, Lamp, Sign, Signal, Tree
from clients.simulation.city.greenery import tree_crown
from clients.simulation.city.layout import CellPlan, Drawable, Lot, Panel
from clients.simulation.city.street import CELL_M, JUNCTION_M, Light, Street, random_stream
from clients.simulation.city.traffic import random_vehicle
from clients.simulation.city.upright_plane import Texture
from exchange.label_space import TRAIN_ID

_FACADES, _SURFACES, _CROWNS = 14, 4, 6
_BUILDING = TRAIN_ID["building"]
_TOWARD_TRAFFIC = (0.0, 0.0, -1.0)


@dataclass
class _Sketch:
    """A cell while it is being planned; its frontage runs from s_m to end_m."""

    rng: np.random.Generator
    s_m: float
    end_m: float
    crossing_s_m: float | None
    lots: list[Lot] = field(default_factory=list)
    trees: list[Tree] = field(default_factory=list)
    others: list[Drawable] = field(default_factory=list)


class CityPlanner:
    """Lots, furniture and parked vehicles; textures come from small pools that are drawn once for a drive."""

    def __init__(self, street: Street, light: Light, seed: int) -> None:
        self.street, self.look, self.light, self.seed = street, street.look, light, seed
        self.front = functools.cache(self._front)
        self.facade = functools.cache(self._facade)
        self.surface = functools.cache(self._surface)
        self.crown = functools.cache(self._crown)
        self.plan = functools.lru_cache(maxsize=12)(self._plan)

    def _gain(self, side: int) -> Rgb:
        normal = _TOWARD_TRAFFIC if side == 0 else (-float(side), 0.0, 0.0)
        return self.light.gain(normal)

    def _facade(self, index: int, side: int) -> tuple[Texture, float, float]:
        """Texture, height and width of a house front that faces the road from `side`, or traffic when it is 0."""
        front = self.front(index)
        return front.under(self._gain(side)), front.height_m, front.width_m

    def _front(self, index: int) -> facades.Facade:
        return facades.random_facade(random_stream(self.look, self.seed, 20, index), self.look)

    def _surface(self, kind: str, index: int, side: int) -> tuple[Texture, float]:
        rng = random_stream(self.look, self.seed, 21, index, len(kind))
        height = {"wall": rng.uniform(1.9, 3.0), "fence": rng.uniform(1.2, 1.7), "hedge": rng.uniform(1.3, 2.2)}[kind]
        draw = {"wall": facades.wall, "fence": facades.fence, "hedge": facades.hedge}[kind]
        return draw(rng, self._gain(side), height), height

    def _crown(self, index: int) -> Texture:
        gain = self.light.gain((0.0, 0.5, -0.6))
        return tree_crown(random_stream(self.look, self.seed, 22, index), gain, float(self.light.sun_XYS[0]))

    def _plan(self, index: int) -> CellPlan:
        rng = random_stream(self.look, self.seed, 23, index)
        s_m = index * CELL_M
        junction = self._has_junction(index)
        end_m = s_m + (CELL_M - JUNCTION_M if junction else CELL_M)
        crossing = end_m - 3.0 if junction else s_m + 30.0 if rng.random() < 0.35 else None
        sketch = _Sketch(rng, s_m, end_m, crossing)
        for side in (-1, 1):
            self._fill_lots(sketch, side)
            self._park_vehicles(sketch, side)
            self._park_two_wheelers(sketch, side)
            self._street_trees(sketch, side)
            self._signs(sketch, side)
        if crossing is not None:
            self._signals(sketch, crossing)
        if junction:
            self._close_side_streets(sketch, end_m + JUNCTION_M / 2)
        lamps = tuple(
            self._lamp(float(s), side)
            for side in (-1, 1)
            for s in np.arange(s_m + 4 + 3 * side, end_m, self.look.lamp_spacing_m)
        )
        things = tuple(sketch.others)
        return CellPlan(s_m, junction, crossing, tuple(sketch.lots), tuple(sketch.trees), lamps, things)

    def _has_junction(self, index: int) -> bool:
        return bool(random_stream(self.look, self.seed, 24, index).random() < self.look.junction_share)

    def _lamp(self, s: float, side: int) -> Lamp:
        u = side * (self.street.road_half_m + 0.6)
        return Lamp(s, u, self.street.place(s, u)[0], side, 6.4)

    def _fill_lots(self, sketch: _Sketch, side: int) -> None:
        rng, s0, tall_before = sketch.rng, sketch.s_m, 0.0
        while s0 < sketch.end_m - 5:
            kind = int(rng.choice(3, p=self.look.lot_shares))
            picked = int(rng.integers(_FACADES))
            _, height, width = self.facade(picked, side)
            setback = (0.0, rng.uniform(4, 7), rng.uniform(14, 20))[kind]
            built = kind < 2 or rng.random() < 0.4
            lot = Lot(side, s0, min(s0 + width, sketch.end_m), setback, height if built else 0.0)
            sketch.lots.append(lot)
            if built:
                corner = s0 == sketch.s_m and lot.paved
                self._house(sketch, lot, picked, flank_m=24.0 if corner else None, flank_shows=height > tall_before)
            tall_before = height if lot.paved else 0.0
            if not lot.paved:
                self._boundary(sketch, lot)
                for _ in range(rng.integers(0, 2) if kind == 1 else rng.integers(1, 5)):
                    u = side * (self.street.front_m + rng.uniform(1.5, 3.0 if kind == 1 else 12.0))
                    sketch.trees.append(self._tree(rng, rng.uniform(lot.s0 + 1, lot.s1 - 1), u, behind_m=4.0))
            s0 += width

    def _house(self, sketch: _Sketch, lot: Lot, picked: int, flank_m: float | None, flank_shows: bool) -> None:
        """The front and, unless the neighbour hides it, the flank that faces those who come along the street."""
        texture, height, _ = self.facade(picked, lot.side)
        behind, margin = (0.0, 0.0) if lot.paved else (6.0, 1.0)
        front = lot.side * lot.front_m(self.street)
        near, far = self.street.place(lot.s0 + margin, front), self.street.place(lot.s1 - margin, front)
        sketch.others.append(Panel(near, far, height, texture, _BUILDING, behind_m=behind))
        if flank_shows or not lot.paved:
            flank, _, width = self.facade((picked + 3) % _FACADES, 0)
            back = (near[0] + lot.side * (flank_m or width), near[1])
            sketch.others.append(Panel(near, back, height, flank, _BUILDING, behind_m=behind + 0.5))

    def _boundary(self, sketch: _Sketch, lot: Lot) -> None:
        kind = ("wall", "fence", "hedge")[sketch.rng.choice(3, p=self.look.boundary_shares)]
        texture, height = self.surface(kind, int(sketch.rng.integers(_SURFACES)), lot.side)
        label = TRAIN_ID["vegetation" if kind == "hedge" else kind]
        u = lot.side * (self.street.front_m + 0.15)
        pieces = max(1, round((lot.s1 - lot.s0) / (4.0 if kind == "fence" else 8.0)))
        for a, b in itertools.pairwise(np.linspace(lot.s0, lot.s1, pieces + 1).tolist()):
            ends = self.street.place(a, u), self.street.place(b, u)
            sketch.others.append(Panel(*ends, height, texture, label, label_the_holes=kind == "fence"))

    def _tree(self, rng: np.random.Generator, s: float, u: float, behind_m: float) -> Tree:
        height = rng.uniform(5, 9)
        crown = self.crown(int(rng.integers(_CROWNS)))
        width = height * rng.uniform(0.6, 0.85)
        return Tree(s, u, self.street.place(s, u)[0], height, width, crown, behind_m)

    def _street_trees(self, sketch: _Sketch, side: int) -> None:
        rng, spacing = sketch.rng, self.look.tree_spacing_m
        u = side * (self.street.road_half_m + (self.street.verge_m / 2 or 1.0))
        s = sketch.s_m + rng.uniform(1, spacing)
        while s < sketch.end_m - 4:
            sketch.trees.append(self._tree(rng, s, u, behind_m=0.0))
            s += spacing * rng.uniform(0.7, 1.4)

    def _park_vehicles(self, sketch: _Sketch, side: int) -> None:
        rng, crossing = sketch.rng, sketch.crossing_s_m
        u = side * self.street.parking_center_m
        rear = sketch.s_m + rng.uniform(2, 6)
        while rear < sketch.end_m - 9:
            vehicle = random_vehicle(rng, self.look, bus_share=0.0)
            s = rear + vehicle.length_m / 2
            clear = crossing is None or abs(s - crossing) > 6 + vehicle.length_m / 2
            if clear and rng.random() < self.look.parked_share:
                heading = self.street.heading(s) + (0 if side > 0 else math.pi)
                sketch.others.append(vehicle.at(*self.street.place(s, u), heading, moving=False))
            rear += vehicle.length_m + rng.uniform(0.7, 2.0)

    def _park_two_wheelers(self, sketch: _Sketch, side: int) -> None:
        """Bicycles and motorcycles in groups at the edge of the sidewalk, across it."""
        rng, edge = sketch.rng, self.street.road_half_m + self.street.verge_m
        for motor, groups in ((False, self.look.parked_bicycles), (True, self.look.parked_motorcycles)):
            for _ in range(rng.poisson(groups / 2)):
                s = sketch.s_m + rng.uniform(3, sketch.end_m - sketch.s_m - 4)
                for _ in range(rng.integers(1, 4)):
                    paint = (HELMETS if motor else CLOTHES)[rng.integers(4)]
                    turn = self.street.heading(s) + math.pi / 2 + rng.normal(0, 0.25)
                    place = self.street.place(s, side * (edge + (1.0 if motor else 0.9)))
                    sketch.others.append(TwoWheeler(motor, *place, turn, paint, None))
                    s += rng.uniform(0.7, 1.1)

    def _signs(self, sketch: _Sketch, side: int) -> None:
        rng, spacing = sketch.rng, self.look.sign_spacing_m * (1 if side > 0 else 2.2)
        s = sketch.s_m + rng.uniform(2, spacing)
        while s < sketch.end_m:
            kinds = [SIGN_KINDS[rng.integers(len(SIGN_KINDS))]]
            if kinds[0] != "board" and rng.random() < 0.35:
                kinds.append(SIGN_KINDS[rng.integers(len(SIGN_KINDS) - 1)])
            u = side * (self.street.road_half_m + (1.4 if kinds[0] == "board" else 0.75))
            sketch.others.append(Sign(s, self.street.place(s, u)[0], tuple(kinds)))
            s += spacing * rng.uniform(0.6, 1.5)

    def _signals(self, sketch: _Sketch, crossing_s_m: float) -> None:
        u, phase = self.street.road_half_m + 0.7, sketch.rng.uniform(0, 24)
        before, after = crossing_s_m - 2.6, crossing_s_m + 2.6
        over_lane = -(self.street.road_half_m - self.look.lane_m / 2)
        left_faces_us = bool(sketch.rng.random() < 0.5)
        sketch.others += [
            Signal(before, self.street.place(before, u)[0], over_lane, True, phase),
            Signal(before, self.street.place(before, -u)[0], 0.0, left_faces_us, phase),
            Signal(after, self.street.place(after, -u)[0], 0.0, False, phase),
        ]

    def _close_side_streets(self, sketch: _Sketch, s: float) -> None:
        """A house at the end of each side street, and perhaps a vehicle that waits to come out."""
        for side in (-1, 1):
            texture, height, _ = self.facade(int(sketch.rng.integers(_FACADES)), side)
            a, b = (self.street.place(s + d, side * 44.0) for d in (-14.0, 14.0))
            sketch.others.append(Panel(a, b, height, texture, _BUILDING, behind_m=10))
            if sketch.rng.random() < 0.7:
                vehicle = random_vehicle(sketch.rng, self.look)
                place = self.street.place(s + side * 2.1, side * (self.street.front_m + 2.5 + vehicle.length_m / 2))
                sketch.others.append(vehicle.at(*place, -side * math.pi / 2, moving=False))
