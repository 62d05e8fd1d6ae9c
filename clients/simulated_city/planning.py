"""Plans the cells of one drive's street; the same cell always gets the same plan."""

import functools
import itertools
import math

import numpy as np

from clients.simulated_city import facades
from clients.simulated_city.canvas import Texture
from clients.simulated_city.domains import Rgb
from clients.simulated_city.figures import CLOTHES, HELMETS, TwoWheeler
from clients.simulated_city.furniture import SIGN_KINDS, Lamp, Sign, Signal, Tree
from clients.simulated_city.greenery import tree_crown
from clients.simulated_city.layout import CellPlan, Drawable, Lot, Panel
from clients.simulated_city.street import CELL_M, JUNCTION_M, Light, Street, random_stream
from clients.simulated_city.traffic import random_vehicle
from exchange.label_space import TRAIN_ID

_FACADES, _SURFACES, _CROWNS = 14, 4, 6
_TOWARD_TRAFFIC = (0.0, 0.0, -1.0)


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
        end = CELL_M - JUNCTION_M if junction else CELL_M
        crossing = s_m + end - 3.0 if junction else s_m + 30.0 if rng.random() < 0.35 else None
        others: list[Drawable] = []
        trees: list[Tree] = []
        lots: list[Lot] = []
        for side in (-1, 1):
            self._fill_lots(rng, side, s_m, end, (lots, trees, others))
            self._park(rng, side, s_m, end, crossing, others)
            self._street_trees(rng, side, s_m, end, trees)
            self._signs(rng, side, s_m, end, others)
        if crossing is not None:
            self._signals(rng, crossing, others)
        if junction:
            self._close_side_streets(rng, s_m + CELL_M - JUNCTION_M / 2, others)
        lamps = tuple(
            self._lamp(s, side)
            for side in (-1, 1)
            for s in np.arange(s_m + 4 + 3 * side, s_m + end, self.look.lamp_spacing_m)
        )
        return CellPlan(s_m, junction, crossing, tuple(lots), tuple(trees), lamps, tuple(others))

    def _has_junction(self, index: int) -> bool:
        return bool(random_stream(self.look, self.seed, 24, index).random() < self.look.junction_share)

    def _lamp(self, s: float, side: int) -> Lamp:
        u = side * (self.street.road_half_m + 0.6)
        return Lamp(s, u, self.street.place(s, u)[0], side, 6.4)

    def _fill_lots(
        self,
        rng: np.random.Generator,
        side: int,
        s_m: float,
        end: float,
        into: tuple[list[Lot], list[Tree], list[Drawable]],
    ) -> None:
        lots, trees, others = into
        position = 0.0
        tall_before = 0.0
        while position < end - 5:
            kind = rng.choice(3, p=self.look.lot_shares)
            picked = int(rng.integers(_FACADES))
            texture, height, width = self.facade(picked, side)
            s0, s1 = s_m + position, s_m + min(position + width, end)
            setback = (0.0, rng.uniform(4, 7), rng.uniform(14, 20))[kind]
            built = kind < 2 or rng.random() < 0.4
            lots.append(Lot(side, s0, s1, setback, height if built else 0.0))
            if built:
                building = TRAIN_ID["building"]
                behind = 0.0 if kind == 0 else 6.0
                front = side * (self.street.front_m + setback)
                margin = 0.0 if kind == 0 else 1.0
                a, b = self.street.place(s0 + margin, front), self.street.place(s1 - margin, front)
                others.append(Panel(a, b, height, texture, building, behind_m=behind))
                if height > tall_before or kind:
                    flank, _, flank_width = self.facade((picked + 3) % _FACADES, 0)
                    deep = 24.0 if position == 0 and kind == 0 else flank_width
                    far = (a[0] + side * deep, a[1])
                    others.append(Panel(a, far, height, flank, building, behind_m=behind + 0.5))
            tall_before = height if kind == 0 else 0.0
            if kind:
                self._boundary(rng, side, s0, s1, others)
                for _ in range(rng.integers(0, 2) if kind == 1 else rng.integers(1, 5)):
                    u = side * (self.street.front_m + rng.uniform(1.5, 3.0 if kind == 1 else 12.0))
                    trees.append(self._tree(rng, rng.uniform(s0 + 1, s1 - 1), u, behind_m=4.0))
            position += width

    def _boundary(self, rng: np.random.Generator, side: int, s0: float, s1: float, others: list[Drawable]) -> None:
        kind = ("wall", "fence", "hedge")[rng.choice(3, p=self.look.boundary_shares)]
        texture, height = self.surface(kind, int(rng.integers(_SURFACES)), side)
        label = TRAIN_ID["vegetation" if kind == "hedge" else kind]
        step = 4.0 if kind == "fence" else 8.0
        u = side * (self.street.front_m + 0.15)
        pieces = max(1, round((s1 - s0) / step))
        edges = np.linspace(s0, s1, pieces + 1)
        for a, b in itertools.pairwise(edges):
            start, stop = self.street.place(float(a), u), self.street.place(float(b), u)
            others.append(Panel(start, stop, height, texture, label, label_the_holes=kind == "fence"))

    def _tree(self, rng: np.random.Generator, s: float, u: float, behind_m: float) -> Tree:
        height = rng.uniform(5, 9)
        crown = self.crown(int(rng.integers(_CROWNS)))
        width = height * rng.uniform(0.6, 0.85)
        return Tree(s, u, self.street.place(s, u)[0], height, width, crown, behind_m)

    def _street_trees(self, rng: np.random.Generator, side: int, s_m: float, end: float, trees: list[Tree]) -> None:
        u = side * (self.street.road_half_m + (self.street.verge_m / 2 or 1.0))
        position = rng.uniform(1, self.look.tree_spacing_m)
        while position < end - 4:
            trees.append(self._tree(rng, s_m + position, u, behind_m=0.0))
            position += self.look.tree_spacing_m * rng.uniform(0.7, 1.4)

    def _park(
        self,
        rng: np.random.Generator,
        side: int,
        s_m: float,
        end: float,
        crossing_s_m: float | None,
        others: list[Drawable],
    ) -> None:
        """Vehicles in the parking lane; bicycles and motorcycles at the edge of the sidewalk."""
        u = side * self.street.parking_center_m
        position = rng.uniform(2, 6)
        while position < end - 9:
            vehicle = random_vehicle(rng, self.look, bus_share=0.0)
            s = s_m + position + vehicle.length_m / 2
            clear = crossing_s_m is None or abs(s - crossing_s_m) > 6 + vehicle.length_m / 2
            if clear and rng.random() < self.look.parked_share:
                heading = self.street.heading(s) + (0 if side > 0 else math.pi)
                others.append(vehicle.at(*self.street.place(s, u), heading, moving=False))
            position += vehicle.length_m + rng.uniform(0.7, 2.0)
        edge = self.street.road_half_m + self.street.verge_m
        for motor, mean in ((False, self.look.parked_bicycles), (True, self.look.parked_motorcycles)):
            for _ in range(rng.poisson(mean / 2)):
                s = s_m + rng.uniform(3, end - 4)
                for _ in range(rng.integers(1, 4)):
                    paint = (CLOTHES if not motor else HELMETS)[rng.integers(4)]
                    turn = self.street.heading(s) + math.pi / 2 + rng.normal(0, 0.25)
                    place = self.street.place(s, side * (edge + (0.9 if not motor else 1.0)))
                    others.append(TwoWheeler(motor, *place, turn, paint, None))
                    s += rng.uniform(0.7, 1.1)

    def _signs(self, rng: np.random.Generator, side: int, s_m: float, end: float, others: list[Drawable]) -> None:
        spacing = self.look.sign_spacing_m * (1 if side > 0 else 2.2)
        position = rng.uniform(2, spacing)
        while position < end:
            kinds = [SIGN_KINDS[rng.integers(len(SIGN_KINDS))]]
            if kinds[0] != "board" and rng.random() < 0.35:
                kinds.append(SIGN_KINDS[rng.integers(len(SIGN_KINDS) - 1)])
            u = side * (self.street.road_half_m + (1.4 if kinds[0] == "board" else 0.75))
            s = s_m + position
            others.append(Sign(s, self.street.place(s, u)[0], tuple(kinds)))
            position += spacing * rng.uniform(0.6, 1.5)

    def _signals(self, rng: np.random.Generator, crossing_s_m: float, others: list[Drawable]) -> None:
        u, phase = self.street.road_half_m + 0.7, rng.uniform(0, 24)
        right, left = self.street.place(crossing_s_m - 2.6, u)[0], self.street.place(crossing_s_m - 2.6, -u)[0]
        arm = -(self.street.road_half_m - self.look.lane_m / 2)
        others.append(Signal(crossing_s_m - 2.6, right, arm, True, phase))
        others.append(Signal(crossing_s_m - 2.6, left, 0.0, rng.random() < 0.5, phase))
        others.append(Signal(crossing_s_m + 2.6, self.street.place(crossing_s_m + 2.6, -u)[0], 0.0, False, phase))

    def _close_side_streets(self, rng: np.random.Generator, s: float, others: list[Drawable]) -> None:
        """A house and a waiting vehicle at the end of each side street."""
        for side in (-1, 1):
            texture, height, _ = self.facade(int(rng.integers(_FACADES)), side)
            a, b = (self.street.place(s + d, side * 44.0) for d in (-14.0, 14.0))
            others.append(Panel(a, b, height, texture, TRAIN_ID["building"], behind_m=10))
            if rng.random() < 0.7:
                vehicle = random_vehicle(rng, self.look)
                u = side * (self.street.front_m + 2.5 + vehicle.length_m / 2)
                heading = -side * math.pi / 2
                others.append(vehicle.at(*self.street.place(s + side * 2.1, u), heading, moving=False))
