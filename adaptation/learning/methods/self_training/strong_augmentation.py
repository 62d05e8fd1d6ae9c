"""Colour jitter and blur of mixed images, as DACS's and HRDA's code applies them (kornia 0.5.8's functions).

That version adds the brightness (factor - 1) and multiplies the contrast without regard to the mean, where later ones
do otherwise; both are cut to [0, 1].
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from adaptation.learning.networks.normalization import MEAN_RGB, STD_RGB, denormalize

_JITTER = 0.2
_SIGMA = (0.15, 1.15)


@dataclass(frozen=True)
class ColorJitter:
    """What is done to the colours of one image, in `order`: 0 brightness, 1 contrast, 2 saturation, 3 hue."""

    brightness: float
    contrast: float
    saturation: float
    hue: float
    """Turns of the hue circle."""
    order: tuple[int, ...]


@dataclass(frozen=True)
class StrongAugmentation:
    """One entry for each image of the batch, or None where the batch is spared."""

    jitters: tuple[ColorJitter, ...] | None = None
    blur_sigmas_px: tuple[float, ...] | None = None


def draw_strong_augmentation(
    images: int, generator: torch.Generator, jitter_probability: float = 0.8, blur_probability: float = 0.5
) -> StrongAugmentation:
    """Draws for a batch: whether to jitter and to blur once for all of it, how much for each image.

    The authors' option color_jitter_probability=0.2 is the probability of *no* jitter.
    """
    jitters, blurs = torch.rand(2, generator=generator).tolist()
    low, high = _SIGMA
    return StrongAugmentation(
        tuple(_draw_jitter(generator) for _ in range(images)) if jitters < jitter_probability else None,
        tuple((low + (high - low) * torch.rand(images, generator=generator)).tolist())
        if blurs < blur_probability
        else None,
    )


def augmentation_of(augmentation: StrongAugmentation, images: range) -> StrongAugmentation:
    """What was drawn for some images of the batch."""
    jitters, sigmas_px = augmentation.jitters, augmentation.blur_sigmas_px
    part = slice(images.start, images.stop)
    return StrongAugmentation(jitters and jitters[part], sigmas_px and sigmas_px[part])


def augment_strongly(images_N3HW: Tensor, augmentation: StrongAugmentation) -> Tensor:
    """Applies an augmentation to normalised images, float [N, 3, H, W]."""
    if augmentation.jitters is not None:
        images_N3HW = color_jitter(images_N3HW, augmentation.jitters)
    if augmentation.blur_sigmas_px is not None:
        images_N3HW = gaussian_blur(images_N3HW, augmentation.blur_sigmas_px)
    return images_N3HW


def color_jitter(images_N3HW: Tensor, jitters: Sequence[ColorJitter]) -> Tensor:
    """Jitters normalised images: to RGB in [0, 1], each image's four changes in its order, and back."""
    changed = [
        _jitter_one(image_3HW, jitter) for image_3HW, jitter in zip(denormalize(images_N3HW), jitters, strict=True)
    ]
    mean, std = (torch.tensor(values, device=images_N3HW.device).view(1, 3, 1, 1) for values in (MEAN_RGB, STD_RGB))
    return (torch.stack(changed) - mean / 255.0) / (std / 255.0)


def gaussian_blur(images_N3HW: Tensor, sigmas_px: Sequence[float]) -> Tensor:
    """Blurs each image with its sigma; kernels span the largest odd number up to a tenth of the side, rounded up."""
    blurred = [_blur_one(image_3HW, sigma_px) for image_3HW, sigma_px in zip(images_N3HW, sigmas_px, strict=True)]
    return torch.stack(blurred)


def _draw_jitter(generator: torch.Generator) -> ColorJitter:
    brightness, contrast, saturation, hue = ((2 * torch.rand(4, generator=generator) - 1) * _JITTER).tolist()
    order = tuple(torch.randperm(4, generator=generator).tolist())
    return ColorJitter(1 + brightness, 1 + contrast, 1 + saturation, hue, order)


def _jitter_one(image_3HW: Tensor, jitter: ColorJitter) -> Tensor:
    changes = (
        lambda rgb: (rgb + (jitter.brightness - 1)).clamp(0, 1),
        lambda rgb: (rgb * jitter.contrast).clamp(0, 1),
        lambda rgb: _change_hsv(rgb, saturation_factor=jitter.saturation),
        lambda rgb: _change_hsv(rgb, hue_turns=jitter.hue),
    )
    for change in jitter.order:
        image_3HW = changes[change](image_3HW)
    return image_3HW


def _change_hsv(rgb_3HW: Tensor, saturation_factor: float = 1.0, hue_turns: float = 0.0) -> Tensor:
    """Through hue, saturation and value and back."""
    value_HW, brightest_HW = rgb_3HW.max(dim=0)
    chroma_HW = value_HW - rgb_3HW.min(dim=0).values
    red, green, blue = rgb_3HW
    sixths = torch.stack([green - blue, blue - red, red - green]) / chroma_HW.where(chroma_HW > 0, 1)
    hue_HW = sixths.gather(0, brightest_HW[None])[0] + 2 * brightest_HW + 6 * hue_turns
    saturation_HW = (chroma_HW / (value_HW + 1e-6) * saturation_factor).clamp(0, 1)
    # Each channel falls from the value by at most value * saturation, by its distance on the hue circle.
    offsets = torch.tensor([5.0, 3.0, 1.0], device=rgb_3HW.device).view(3, 1, 1)
    place_3HW = (offsets + hue_HW) % 6
    return value_HW - value_HW * saturation_HW * torch.minimum(place_3HW, 4 - place_3HW).clamp(0, 1)


def _blur_one(image_3HW: Tensor, sigma_px: float) -> Tensor:
    rows, columns = (_gaussian(side, sigma_px).to(image_3HW) for side in image_3HW.shape[-2:])
    padding = (len(columns) // 2, len(columns) // 2, len(rows) // 2, len(rows) // 2)
    padded = F.pad(image_3HW[:, None], padding, mode="reflect")
    return F.conv2d(F.conv2d(padded, rows.view(1, 1, -1, 1)), columns.view(1, 1, 1, -1))[:, 0]


def _gaussian(side_px: int, sigma_px: float) -> Tensor:
    size = (math.ceil(0.1 * side_px) + 1) // 2 * 2 - 1
    offsets = torch.arange(size) - size // 2
    weights = torch.exp(-(offsets**2) / (2 * sigma_px**2))
    return weights / weights.sum()
