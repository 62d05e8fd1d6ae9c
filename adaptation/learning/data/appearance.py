"""Source frames given the look of a target frame: its colours, or its slowest changes of light."""

import cv2
import numpy as np
from numpy.typing import NDArray

from exchange.jobs.crops import Appearance

LOW_FREQUENCIES = 0.01
"""FDA's beta: the frequencies up to this share of the shorter side take the target's amplitude."""
_FLAT = 1e-3
"""A Lab channel that varies less than this has no contrast to stretch."""


def transfer_appearance(
    appearance: Appearance, image_HW3: NDArray[np.uint8], style_HW3: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """A frame with its own content and a style frame's look, both RGB uint8 of any size."""
    if appearance == "lab":
        return match_lab(image_HW3, style_HW3)
    if appearance == "fourier":
        return match_low_frequencies(image_HW3, style_HW3)
    return image_HW3


def match_lab(image_HW3: NDArray[np.uint8], style_HW3: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Gives each channel of CIE Lab the style's mean and standard deviation (Reinhard et al., 2001; CPSL's data)."""
    lab_HW3, style_lab_HW3 = (_lab(image) for image in (image_HW3, style_HW3))
    mean, std = lab_HW3.mean(axis=(0, 1)), lab_HW3.std(axis=(0, 1))
    style_mean, style_std = style_lab_HW3.mean(axis=(0, 1)), style_lab_HW3.std(axis=(0, 1))
    scale = np.where(std > _FLAT, style_std / np.maximum(std, _FLAT), 1).astype(np.float32)
    matched_HW3 = (lab_HW3 - mean) * scale + style_mean
    return _to_bytes(255 * cv2.cvtColor(matched_HW3, cv2.COLOR_Lab2RGB))


def match_low_frequencies(
    image_HW3: NDArray[np.uint8], style_HW3: NDArray[np.uint8], beta: float = LOW_FREQUENCIES
) -> NDArray[np.uint8]:
    """Gives the lowest frequencies the style's amplitude and keeps their phase (FDA, Yang and Soatto, CVPR 2020).

    The style is first brought to the image's size. At most floor(beta * shorter side) periods a side change, some
    fifty of all frequencies, so these alone are computed, without the whole transform.
    """
    height, width = image_HW3.shape[:2]
    highest = int(beta * min(height, width))
    style_HW3 = cv2.resize(style_HW3, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)
    rows_FH, columns_FW = (_waves(side, highest) for side in (height, width))
    low_3FF, style_low_3FF = (
        rows_FH @ image.transpose(2, 0, 1).astype(np.float32) @ columns_FW.T for image in (image_HW3, style_HW3)
    )
    amplitude_3FF = np.abs(low_3FF)
    phase_3FF = np.where(amplitude_3FF > 0, low_3FF / np.maximum(amplitude_3FF, 1e-12), 1)
    change_3FF = (np.abs(style_low_3FF) - amplitude_3FF) * phase_3FF
    change_3HW = (rows_FH.conj().T @ change_3FF @ columns_FW.conj()).real / (height * width)
    return _to_bytes(image_HW3 + change_3HW.transpose(1, 2, 0))


def _waves(side: int, highest: int) -> NDArray[np.complex64]:
    """The discrete Fourier transform's rows for -highest to highest periods a side, [2 * highest + 1, side]."""
    periods_F1 = np.arange(-highest, highest + 1)[:, None]
    return np.exp(-2j * np.pi * periods_F1 * np.arange(side) / side).astype(np.complex64)


def _lab(image_HW3: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(image_HW3.astype(np.float32) / 255, cv2.COLOR_RGB2Lab), dtype=np.float32)


def _to_bytes(image_HW3: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.clip(np.rint(image_HW3), 0, 255).astype(np.uint8)
