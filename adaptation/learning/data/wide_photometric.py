"""Wide changes of light, colour and sharpness on 8-bit crops, so that day frames train a network that sees at dusk."""

from statistics import NormalDist

import cv2
import numpy as np
from numpy.typing import NDArray

_PLAIN_SHARE = 0.5
_GAMMA = (0.5, 3.0)
_GAIN = (0.35, 1.2)
_CHANNEL_GAIN = (0.8, 1.25)
_SATURATION = (0.4, 1.3)
_BLUR_SIGMA = (0.3, 1.5)
_NOISE_STD = (2.0, 14.0)
_GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_NORMAL_QUANTILES = np.array([NormalDist().inv_cdf((i + 0.5) / 256) for i in range(256)])


def vary_widely(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Gives a crop another exposure, white balance, saturation, sharpness and sensor noise, uint8 [H, W, 3].

    Every other crop is left as it is: the plain look is what the network meets most, and small ones forget it.
    """
    if rng.random() < _PLAIN_SHARE:
        return image
    image = _expose(_saturate(image, rng.uniform(*_SATURATION)), rng)
    if rng.random() < 0.3:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(*_BLUR_SIGMA)).astype(np.uint8, copy=False)
    if rng.random() < 0.5:
        image = _add_noise(image, rng)
    return image


def _saturate(image: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    mix = factor * np.eye(3, dtype=np.float32) + (1 - factor) * np.tile(_GREY, (3, 1))
    return cv2.transform(image, mix).astype(np.uint8, copy=False)


def _expose(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Channel c becomes gain * gain_c * x ** gamma, by a table of 256 entries."""
    gamma = np.exp(rng.uniform(*np.log(_GAMMA)))
    low, high = np.log(_CHANNEL_GAIN)
    gain_RGB = rng.uniform(*_GAIN) * np.exp(rng.uniform(low, high, size=3))
    table = 255.0 * gain_RGB * (np.arange(256)[:, None] / 255.0) ** gamma
    return cv2.LUT(image, np.clip(table + 0.5, 0, 255).astype(np.uint8)[None]).astype(np.uint8, copy=False)


def _add_noise(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Gaussian noise in 256 steps: a table over random bytes costs a tenth of drawing normal numbers."""
    steps = np.rint(rng.uniform(*_NOISE_STD) * _NORMAL_QUANTILES).astype(np.int8)
    noise = steps[rng.integers(256, size=image.shape, dtype=np.uint8)]
    return cv2.add(image, noise, dtype=cv2.CV_8U).astype(np.uint8, copy=False)
