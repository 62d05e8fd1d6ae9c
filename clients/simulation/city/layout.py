"""What a cell of street holds: lots and everything on them, as a plan that can be drawn."""

from dataclasses import dataclass
from typing import Protocol

from clients.simulation.city.camera import FARTHEST_M, Camera
from clients.simulation.city.furniture import Lamp, Tree
from clients.simulation.city.scene import Footprint, Scene
from clients.simulation.city.street import Street
from clients.simulation.city.upright_plane import Texture, UprightPlane


class Drawable(Protocol):
    def ahead_m(self, camera: Camera) -> float | None:
        """How far ahead it counts when things are painted far to near; None when it is out of the picture."""
        ...

    def draw(self, scene: Scene) -> None: ...

    def footprint(self) -> Footprint | None:
        """What it shades of the ground; None for what is baked into the ground's own map, or shades nothing."""
        ...


@dataclass(frozen=True)
class Panel:
    """A textured upright rectangle from one world point to another: facade, wall, fence or hedge."""

    from_xs: tuple[float, float]
    to_xs: tuple[float, float]
    height_m: float
    texture: Texture
    label: int
    label_the_holes: bool = False
    behind_m: float = 0.0

    def ahead_m(self, camera: Camera) -> float | None:
        nearer, farther = sorted(camera.to_camera(*end)[1] for end in (self.from_xs, self.to_xs))
        return farther + self.behind_m if farther > 0 and nearer < FARTHEST_M else None

    def draw(self, scene: Scene) -> None:
        ends = scene.camera.to_camera(*self.from_xs), scene.camera.to_camera(*self.to_xs)
        plane = UprightPlane(*ends, (0.0, self.height_m))
        plane.paint(scene.canvas, scene.camera, self.texture, self.label, self.label_the_holes)

    def footprint(self) -> None:
        return None


@dataclass(frozen=True)
class Lot:
    """A piece of frontage from s0 to s1 on one side (+1 right); a height of 0 means no building."""

    side: int
    s0: float
    s1: float
    setback_m: float
    building_height_m: float

    @property
    def paved(self) -> bool:
        return self.setback_m == 0

    def front_m(self, street: Street) -> float:
        return street.front_m + self.setback_m


@dataclass(frozen=True)
class CellPlan:
    """64 m of street from `s_m` on."""

    s_m: float
    junction: bool
    crossing_s_m: float | None
    lots: tuple[Lot, ...]
    trees: tuple[Tree, ...]
    lamps: tuple[Lamp, ...]
    others: tuple[Drawable, ...]

    @property
    def drawables(self) -> tuple[Drawable, ...]:
        return (*self.trees, *self.lamps, *self.others)
