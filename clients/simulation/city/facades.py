"""Upright surfaces along the street: facades with windows, walls, fences, hedges."""

from dataclasses import dataclass

import cv2
import numpy as np

from clients.simulation.city.canvas import Bytes
from clients.simulation.city.domain_look import DomainLook, Rgb
from clients.simulation.city.materials import clouded_noise, foliage, lit, speckle, tinted
from clients.simulation.city.upright_plane import Texture

TEXELS_PER_M = 30
STOREY_M = 3.1
PLASTER_RGB = (
    (214, 196, 160), (196, 128, 96), (206, 206, 198), (168, 92, 72), (226, 208, 172), (148, 156, 166),
    (188, 170, 146), (222, 180, 140), (120, 104, 92), (202, 168, 176), (176, 186, 168), (236, 226, 206),
)  # fmt: skip


def _rectangle(image: Bytes, box_m: tuple[float, float, float, float], color: tuple[float, ...]) -> None:
    """Fills (left, top, right, bottom) in metres from the texture's upper left."""
    left, top, right, bottom = (round(v * TEXELS_PER_M) for v in box_m)
    cv2.rectangle(image, (left, top), (right - 1, bottom - 1), color, cv2.FILLED)


def _bricks(image: Bytes, course_m: float, contrast: float) -> None:
    course = max(3, round(course_m * TEXELS_PER_M))
    for index, row in enumerate(range(0, image.shape[0], course)):
        image[row : row + 1] = (image[row : row + 1] * (1 - contrast)).astype(np.uint8)
        start = (index % 2) * course
        columns = image[row : row + course, start :: 2 * course]
        columns[:] = (columns * (1 - contrast)).astype(np.uint8)


def _window(
    surface: Bytes, glow: Bytes, rng: np.random.Generator, look: DomainLook, box: tuple[float, float, float, float]
) -> None:
    """Frame, glass that mirrors the sky in its upper part, curtains, mullion; or a lit room."""
    left, top, right, bottom = box
    _rectangle(surface, (left - 0.1, top - 0.12, right + 0.1, bottom + 0.16), tuple(rng.uniform(170, 240, 1)) * 3)
    _rectangle(surface, (left, top, right, bottom), (52, 60, 70))
    sky = np.asarray(look.sky_horizon_rgb) * rng.uniform(0.3, 0.8)
    _rectangle(surface, (left, top, right, top + (bottom - top) * rng.uniform(0.2, 0.75)), tuple(sky))
    if rng.random() < 0.35:
        _rectangle(surface, (left, top, left + (right - left) * 0.28, bottom), (188, 182, 170))
        _rectangle(surface, (right - (right - left) * 0.28, top, right, bottom), (188, 182, 170))
    if rng.random() < look.lit_window_share:
        warm = (255, rng.uniform(190, 225), rng.uniform(105, 170))
        _rectangle(glow, box, tuple(v * rng.uniform(0.6, 1.0) for v in warm))
    middle = (left + right) / 2
    _rectangle(surface, (middle - 0.04, top, middle + 0.04, bottom), (210, 208, 200))
    _rectangle(glow, (middle - 0.04, top, middle + 0.04, bottom), (0, 0, 0))


def _ground_floor(
    surface: Bytes, glow: Bytes, rng: np.random.Generator, look: DomainLook, size_m: tuple[float, float]
) -> None:
    """Shop windows under an awning or sign band, or a door and a plinth."""
    height, width = size_m
    if rng.random() < 0.45:
        band = tuple(rng.uniform(30, 220, 3))
        _rectangle(surface, (0.3, height - 3.1, width - 0.3, height - 2.5), band)
        for left in np.arange(0.6, width - 2.6, 3.0):
            box = (left, height - 2.4, left + 2.5, height - 0.4)
            _rectangle(surface, box, tuple(rng.uniform(40, 90, 3)))
            _rectangle(surface, (left, height - 2.4, left + 2.5, height - 1.5), tuple(rng.uniform(90, 150, 3)))
            if rng.random() < look.lit_window_share * 2:
                _rectangle(glow, box, (250, 226, 176))
        return
    _rectangle(surface, (0, height - 0.6, width, height), (112, 108, 102))
    door = rng.uniform(0.6, max(0.7, width - 2))
    _rectangle(surface, (door - 0.15, height - 2.6, door + 1.35, height), (206, 200, 190))
    _rectangle(surface, (door, height - 2.45, door + 1.2, height), tuple(rng.uniform(30, 120, 3)))


@dataclass(frozen=True)
class Facade:
    """A house front before light falls on it, and the light of its rooms."""

    height_m: float
    width_m: float
    surface: Bytes
    glow: Bytes

    def under(self, gain_rgb: Rgb) -> Texture:
        return Texture.of(np.maximum(lit(self.surface, gain_rgb), self.glow))


def random_facade(rng: np.random.Generator, look: DomainLook) -> Facade:
    """A front with rows of windows, a ground floor and a strip of roof."""
    low, high = look.storeys
    height = rng.integers(low, high + 1) * STOREY_M + rng.uniform(1.6, 2.6)
    width = rng.uniform(9, 15)
    shape = (round(height * TEXELS_PER_M), round(width * TEXELS_PER_M))
    plaster = np.asarray(PLASTER_RGB[rng.integers(len(PLASTER_RGB))]) * rng.uniform(0.8, 1.05)
    surface = tinted(plaster, speckle(rng, shape, 4), clouded_noise(rng, shape, 5, 3) * 8)
    if rng.random() < 0.4:
        _bricks(surface, 0.22, 0.18)
    glow = np.zeros((*shape, 3), np.uint8)
    roof_m = rng.uniform(0.9, 1.7)
    eaves = tuple(rng.uniform(60, 200, 1)) * 3
    spacing = rng.uniform(1.9, 2.9)
    wide, tall = rng.uniform(0.9, 1.35), rng.uniform(1.35, 1.9)
    columns = max(1, int((width - 0.6) / spacing))
    margin = (width - columns * spacing) / 2
    for sill in np.arange(height - STOREY_M - 0.9, roof_m + tall + 0.2, -STOREY_M):
        for column in range(columns):
            left = margin + column * spacing + (spacing - wide) / 2
            _window(surface, glow, rng, look, (left, sill - tall, left + wide, sill))
        if rng.random() < 0.4:
            _rectangle(surface, (0, sill + 0.55, width, sill + 0.7), tuple(plaster * 0.8))
    _ground_floor(surface, glow, rng, look, (height, width))
    roof = np.asarray([(136, 72, 56), (84, 80, 82), (110, 88, 74)][rng.integers(3)]) * rng.uniform(0.8, 1.1)
    rows = round(roof_m * TEXELS_PER_M)
    surface[:rows] = tinted(roof, speckle(rng, (rows, shape[1]), 9))
    surface[:rows:5] = surface[:rows:5] // 4 * 3
    _rectangle(surface, (0, roof_m - 0.15, width, roof_m + 0.12), eaves)
    surface[:, : round(0.06 * TEXELS_PER_M)] //= 2
    shade = np.interp(np.arange(shape[0]), [0, shape[0] * 0.6, shape[0]], [1.04, 1.0, 0.84]).astype(np.float32)
    surface = np.clip(surface * shade[:, None, None], 0, 255).astype(np.uint8)
    return Facade(height, width, surface, glow)


def wall(rng: np.random.Generator, gain_rgb: Rgb, height_m: float) -> Texture:
    """8 m of free-standing wall: large stone blocks or bare concrete in bays, under a light coping; no windows."""
    shape = (round(height_m * TEXELS_PER_M), round(8 * TEXELS_PER_M))
    grey = rng.uniform(112, 150)
    base = (grey * 1.04, grey, grey * rng.uniform(0.86, 0.96))
    image = tinted(base, speckle(rng, shape, 7), clouded_noise(rng, shape, 10, 4) * 20)
    if rng.random() < 0.6:
        _bricks(image, 0.4, 0.42)
    else:
        image[:, :: 2 * TEXELS_PER_M] //= 2
        image[:, 1 :: 2 * TEXELS_PER_M] //= 2
    coping = max(3, round(0.16 * TEXELS_PER_M))
    image[:coping] = np.clip(np.asarray(base) * 1.35, 0, 255).astype(np.uint8)
    image[coping : coping + 2] //= 2
    stain = np.linspace(1.0, 0.74, shape[0], dtype=np.float32)[:, None, None]
    return Texture.of(lit((image * stain).astype(np.uint8), gain_rgb))


def fence(rng: np.random.Generator, gain_rgb: Rgb, height_m: float) -> Texture:
    """4 m of see-through fence: wooden pickets, or iron bars with rails."""
    shape = (round(height_m * TEXELS_PER_M), 4 * TEXELS_PER_M)
    wooden = rng.random() < 0.55
    color = (176, 140, 98) if wooden else (44, 62, 54)
    image = np.zeros((*shape, 4), np.uint8)
    image[..., :3] = lit(tinted(color, speckle(rng, shape, 8)), gain_rgb)
    pitch, thick = (6, 4) if wooden else (5, 2)
    for column in range(0, shape[1], pitch):
        image[:, column : column + thick, 3] = 255
        image[:, column, :3] //= 2
    for rail in (0.12, 0.82):
        row = round(rail * shape[0])
        image[row : row + 5, :, 3] = 255
        image[row + 4, :, :3] //= 2
    image[:, :6] = (*image[0, 0, :3], 255)
    return Texture.of(image, depth=3)


def hedge(rng: np.random.Generator, gain_rgb: Rgb, height_m: float) -> Texture:
    """8 m of hedge with a ragged top."""
    shape = (round(height_m * TEXELS_PER_M), 8 * TEXELS_PER_M)
    leaves = lit(foliage(rng, shape, (52, 84, 40)), gain_rgb)
    ragged = clouded_noise(rng, (1, shape[1]), 30, 3)[0] * 6 + 5
    opaque = np.arange(shape[0])[:, None] > ragged[None]
    return Texture.of(np.dstack([leaves, opaque.astype(np.uint8) * 255]))
