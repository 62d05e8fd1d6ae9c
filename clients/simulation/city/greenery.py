"""Tree crowns as cut-out sprites."""

import cv2
import numpy as np

from clients.simulation.city.domain_look import Rgb
from clients.simulation.city.materials import foliage, lit
from clients.simulation.city.upright_plane import Texture

LEAF_RGB = ((58, 92, 40), (74, 104, 46), (44, 76, 44), (88, 106, 50), (66, 84, 52))
_SIDE = 224


def tree_crown(rng: np.random.Generator, gain_rgb: Rgb, sun_from_right: float) -> Texture:
    """A crown seen from the side, 224 x 224 RGBA: overlapping clumps, ragged, brighter towards the sun."""
    conifer = rng.random() < 0.22
    mask = np.zeros((_SIDE, _SIDE), np.uint8)
    for _ in range(90):
        if conifer:
            down = rng.uniform(0.06, 0.94)
            across = 0.5 + rng.uniform(-1, 1) * 0.30 * down
            radius = 0.04 + 0.06 * down
        else:
            angle, reach = rng.uniform(0, 6.28), 0.36 * np.sqrt(rng.random())
            across, down = 0.5 + reach * np.cos(angle), 0.48 + reach * 0.92 * np.sin(angle)
            radius = rng.uniform(0.05, 0.13)
        cv2.circle(mask, (int(across * _SIDE), int(down * _SIDE)), int(radius * _SIDE), (255,), cv2.FILLED)
    soft = cv2.GaussianBlur(mask, (0, 0), 4)
    ragged = soft + cv2.resize(rng.normal(0, 60, (56, 56)).astype(np.float32), (_SIDE, _SIDE))
    leaves = foliage(rng, (_SIDE, _SIDE), LEAF_RGB[rng.integers(len(LEAF_RGB))])
    across_light = 1 + 0.25 * sun_from_right * np.linspace(-1, 1, _SIDE, dtype=np.float32)
    leaves = lit(np.clip(leaves * across_light[None, :, None], 0, 255).astype(np.uint8), gain_rgb)
    return Texture.of(np.dstack([leaves, ((ragged > 128) & (soft > 50)).astype(np.uint8) * 255]))
