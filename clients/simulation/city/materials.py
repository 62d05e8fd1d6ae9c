"""Seamless noise and the surfaces made of it."""

import cv2
import numpy as np

from clients.simulation.city.canvas import Bytes
from clients.simulation.city.domain_look import Rgb
from clients.simulation.city.street import Floats


def speckle(rng: np.random.Generator, shape: tuple[int, ...], sigma: float = 1.0) -> Floats:
    return rng.standard_normal(shape, dtype=np.float32) * np.float32(sigma)


def clouded_noise(rng: np.random.Generator, size_hw: tuple[int, int], coarsest: int, octaves: int) -> Floats:
    """Smooth fractal noise of about zero mean and unit range; `coarsest` blobs along the longer side."""
    height, width = size_hw
    longer = max(size_hw)
    total = np.zeros(size_hw, np.float32)
    for octave in range(octaves):
        cells = coarsest * 2**octave
        grid = speckle(rng, (max(2, round(cells * height / longer)), max(2, round(cells * width / longer))))
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) * np.float32(0.55**octave)
    return total / np.float32(2.0)


def tinted(base_rgb: tuple[float, ...] | Floats, *layers: Floats) -> Bytes:
    """A flat colour modulated by grey layers (in 8-bit steps), as an image."""
    total = sum(layers[1:], start=layers[0])
    image = np.empty((*total.shape, 3), np.uint8)
    for channel, base in enumerate(np.asarray(base_rgb, np.float32)):
        image[..., channel] = np.clip(total + base, 0, 255)
    return image


def lit(image: Bytes, gain_rgb: Rgb) -> Bytes:
    """`image` under light of the given RGB gain."""
    steps = np.arange(256, dtype=np.float32)
    table = np.clip(steps[:, None] * np.asarray(gain_rgb)[None, :], 0, 255).astype(np.uint8)
    return cv2.LUT(image, table[None])


def asphalt(rng: np.random.Generator, size_hw: tuple[int, int], grey: float) -> Bytes:
    base = (grey, grey * rng.uniform(0.97, 1.02), grey * rng.uniform(0.96, 1.06))
    return tinted(base, speckle(rng, size_hw, 6), clouded_noise(rng, size_hw, 9, 3) * 9)


def paving(rng: np.random.Generator, size_hw: tuple[int, int], texels_per_m: float) -> Bytes:
    """Slabs with dark joints, each slab of its own shade."""
    grey = rng.uniform(138, 172)
    base = (grey * rng.uniform(0.99, 1.06), grey, grey * rng.uniform(0.88, 0.98))
    slab = max(4, round(texels_per_m * rng.choice([0.5, 0.6, 0.8])))
    rows, columns = size_hw[0] // slab + 1, size_hw[1] // slab + 1
    shades = np.kron(speckle(rng, (rows, columns), 9), np.ones((slab, slab), np.float32))[: size_hw[0], : size_hw[1]]
    image = tinted(base, np.ascontiguousarray(shades), speckle(rng, size_hw, 4))
    image[::slab] = image[::slab] // 3 * 2
    image[:, ::slab] = image[:, ::slab] // 3 * 2
    return image


def grass(rng: np.random.Generator, size_hw: tuple[int, int]) -> Bytes:
    """Blades and dry patches: lighter and yellower than leaves, which are dark and blotched."""
    base = (rng.uniform(118, 150), rng.uniform(148, 172), rng.uniform(62, 84))
    image = tinted(base, speckle(rng, size_hw, 13), clouded_noise(rng, size_hw, 14, 4) * 14)
    dry = clouded_noise(rng, size_hw, 6, 3) > 0.75
    image[dry] = (image[dry] * (1.1, 0.93, 0.9)).clip(0, 255).astype(np.uint8)
    return image


def foliage(rng: np.random.Generator, size_hw: tuple[int, int], base_rgb: tuple[float, ...]) -> Bytes:
    """Clumps of leaves: strong blotches at several scales, lit from above."""
    clumps = clouded_noise(rng, size_hw, 12, 5) * 42
    from_above = np.linspace(14, -22, size_hw[0], dtype=np.float32)[:, None] * np.ones((1, size_hw[1]), np.float32)
    return tinted(base_rgb, clumps, speckle(rng, size_hw, 10), from_above)
