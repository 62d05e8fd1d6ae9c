"""Everything that moves, as functions of time alone, so that any moment can be drawn without the ones before."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from clients.simulation.city.canvas import Color
from clients.simulation.city.domain_look import DomainLook
from clients.simulation.city.figures import CLOTHES, HELMETS, Outfit, Person, TwoWheeler
from clients.simulation.city.layout import CellPlan, Drawable
from clients.simulation.city.street import CELL_M, JUNCTION_M, Street, random_stream
from clients.simulation.city.vehicles import CARGO, LIVERY, PAINTS, SHAPES, Shape, Vehicle

_WALK_M_PER_S = 1.35


@dataclass(frozen=True)
class VehicleKind:
    shape: Shape
    paint: Color

    @property
    def length_m(self) -> float:
        return self.shape.length_m

    def at(self, x_m: float, s_m: float, heading: float, moving: bool) -> Vehicle:
        return Vehicle(self.shape, x_m, s_m, heading, self.paint, moving)


def random_vehicle(rng: np.random.Generator, look: DomainLook, bus_share: float | None = None) -> VehicleKind:
    car, truck, bus = look.vehicle_shares
    bus = bus if bus_share is None else bus_share
    kind = rng.choice(3, p=np.array([car, truck, bus]) / (car + truck + bus))
    names, paints = (
        (("saloon", "hatchback", "suv"), PAINTS),
        (("box truck", "lorry"), CARGO),
        (("bus",), LIVERY),
    )[kind]
    return VehicleKind(SHAPES[names[rng.integers(len(names))]], paints[rng.integers(len(paints))])


@dataclass(frozen=True)
class Ego:
    """The vehicle that drives: steady speed with a gentle surge."""

    speed_m_per_s: float
    start_m: float

    def s_m(self, time_s: float) -> float:
        return self.start_m + self.speed_m_per_s * time_s + 2.5 * math.sin(0.4 * time_s)

    def time_at(self, s_m: float) -> float:
        """About when `s_m` is reached."""
        return (s_m - self.start_m) / self.speed_m_per_s


class Traffic:
    """The moving things within sight at a time."""

    def __init__(self, street: Street, ego: Ego, seed: int) -> None:
        self.street, self.look, self.ego, self.seed = street, street.look, ego, seed

    def at(self, time_s: float, plans: dict[int, CellPlan]) -> Iterator[Drawable]:
        yield from self._leaders(time_s)
        yield from self._oncoming(time_s)
        yield from self._two_wheelers(time_s)
        yield from self._walkers(time_s)
        for index, plan in plans.items():
            if plan.crossing_s_m is not None:
                yield from self._crossing_people(time_s, index, plan.crossing_s_m)
            if plan.junction:
                yield from self._crossing_traffic(time_s, index)

    def _flow(
        self,
        time_s: float,
        stream: int,
        velocity: float,
        spacing_m: float,
        make: Callable[[np.random.Generator, float], Drawable],
        sight_m: float = 80.0,
    ) -> Iterator[Drawable]:
        """An endless file of things `spacing_m` apart, each drawn from its own number in the file."""
        ego_s = self.ego.s_m(time_s)
        origin = velocity * time_s
        first = math.ceil((ego_s - 1 - origin) / spacing_m)
        for number in range(first, first + int(sight_m / spacing_m) + 2):
            rng = random_stream(self.look, self.seed, 40, stream, number)
            if rng.random() < 0.85:
                yield make(rng, number * spacing_m + origin + rng.uniform(-0.2, 0.2) * spacing_m)

    def _leaders(self, time_s: float) -> Iterator[Drawable]:
        ego_s = self.ego.s_m(time_s)
        for place in range(4):
            turn = time_s / 43 + random_stream(self.look, self.seed, 41, place).random()
            rng = random_stream(self.look, self.seed, 42, place, math.floor(turn))
            if rng.random() < min(0.85, 20 / self.look.traffic_spacing_m):
                kind = random_vehicle(rng, self.look)
                gap = 13 + 26 * place + 24 * (0.5 + 0.5 * math.cos(2 * math.pi * turn)) + kind.length_m / 2
                s = ego_s + gap
                yield kind.at(*self.street.place(s, self.street.lane_center_m), self.street.heading(s), moving=True)

    def _oncoming(self, time_s: float) -> Iterator[Drawable]:
        def make(rng: np.random.Generator, s: float) -> Drawable:
            kind = random_vehicle(rng, self.look)
            place = self.street.place(s, -self.street.lane_center_m)
            return kind.at(*place, self.street.heading(s) + math.pi, moving=True)

        yield from self._flow(time_s, 1, -8.5, max(16.0, self.look.traffic_spacing_m), make, 120.0)

    def _two_wheelers(self, time_s: float) -> Iterator[Drawable]:
        for stream, motor, velocity, spacing in (
            (2, False, 4.2, self.look.cyclist_spacing_m),
            (3, False, -4.2, self.look.cyclist_spacing_m),
            (4, True, 6.5, self.look.motorcyclist_spacing_m),
            (5, True, -8.0, self.look.motorcyclist_spacing_m),
        ):
            side = 1 if velocity > 0 else -1
            u = side * (self.street.look.lane_m - 0.35 if motor else max(self.street.cycle_center_m, 3.1))

            def make(
                rng: np.random.Generator, s: float, motor: bool = motor, side: int = side, u: float = u
            ) -> Drawable:
                heading = self.street.heading(s) + (0 if side > 0 else math.pi)
                return self._ridden(rng, motor, self.street.place(s, u), heading, time_s)

            yield from self._flow(time_s, stream, velocity, spacing, make)

    def _ridden(
        self, rng: np.random.Generator, motor: bool, place: tuple[float, float], heading: float, time_s: float
    ) -> TwoWheeler:
        paint = (HELMETS if motor else CLOTHES)[rng.integers(4)]
        outfit = Outfit.random(rng, helmet=motor or rng.random() < 0.6)
        return TwoWheeler(motor, *place, heading, paint, outfit, phase=time_s * 7 + rng.uniform(0, 6))

    def _walkers(self, time_s: float) -> Iterator[Drawable]:
        for stream, side, velocity in ((6, 1, 1.3), (7, 1, -1.3), (8, -1, 1.3), (9, -1, -1.3)):

            def make(rng: np.random.Generator, s: float, side: int = side, velocity: float = velocity) -> Drawable:
                edge = self.street.road_half_m + self.street.verge_m
                u = side * (edge + rng.uniform(0.6, self.look.sidewalk_m - 0.4))
                heading = self.street.heading(s) + (0 if velocity > 0 else math.pi)
                return self._person(rng, self.street.place(s, u), heading, time_s, walking=True)

            yield from self._flow(time_s, stream, velocity, 4 * self.look.people_spacing_m, make)

    def _person(
        self, rng: np.random.Generator, place: tuple[float, float], heading: float, time_s: float, walking: bool
    ) -> Person:
        outfit = Outfit.random(rng, umbrella_share=self.look.rain)
        size = rng.uniform(0.92, 1.08) if rng.random() < 0.85 else rng.uniform(0.6, 0.75)
        phase = time_s * 2 * math.pi * 0.95 / size + rng.uniform(0, 6.28)
        return Person(*place, heading, outfit, phase, 1.0 if walking else 0.0, size)

    def _crossing_people(self, time_s: float, index: int, crossing_s_m: float) -> Iterator[Drawable]:
        """They wait at the kerb, cross some seconds before the vehicle comes, and are across in time."""
        rng = random_stream(self.look, self.seed, 43, index)
        arrival_s = self.ego.time_at(crossing_s_m)
        edge = self.street.road_half_m + 0.6
        for _ in range(rng.poisson(self.look.crossing_people)):
            side, speed = rng.choice([-1, 1]), _WALK_M_PER_S * rng.uniform(0.9, 1.3)
            centered_s = arrival_s - rng.uniform(3.5, 9.0)
            u = float(np.clip(side * speed * (time_s - centered_s), -edge, edge))
            walking = abs(u) < edge
            place = self.street.place(crossing_s_m + rng.uniform(-1.4, 1.4), u)
            yield self._person(rng, place, side * math.pi / 2, time_s, walking)

    def _crossing_traffic(self, time_s: float, index: int) -> Iterator[Drawable]:
        """Vehicles and riders that pass the junction from one side street into the other before the vehicle."""
        rng = random_stream(self.look, self.seed, 44, index)
        middle = (index + 1) * CELL_M - JUNCTION_M / 2
        arrival_s = self.ego.time_at(middle)
        for turn in range(3):
            side = rng.choice([-1, 1])
            centered_s = arrival_s - 2.6 - 2.3 * turn - rng.uniform(0, 0.8)
            chance = rng.random()
            speed = 6.0 if chance < 0.5 else 4.0
            u = float(side * speed * (time_s - centered_s))
            place = self.street.place(middle + side * 2.0, u)
            if abs(u) > 38 or rng.random() > 0.75:
                continue
            if chance < 0.5:
                yield random_vehicle(rng, self.look).at(*place, side * math.pi / 2, moving=True)
            elif rng.random() < min(1.0, 26 / self.look.cyclist_spacing_m):
                yield self._ridden(rng, bool(rng.random() < 0.5), place, side * math.pi / 2, time_s)
