"""Where a label would teach most: regions of many predicted classes and high uncertainty.

Source: "Towards Fewer Annotations: Active Learning via Region Impurity and Prediction Uncertainty for Domain Adaptive
Semantic Segmentation" (RIPU, Xie et al., CVPR 2022). A region is the (2 * radius + 1)^2 box around a pixel, as much of
it as lies in the image.
"""

import math
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LOG_SCALE = math.log(19)
"""The authors divide by log 19 for any number of classes; it only scales."""

_EPSILON = 1e-6
_SMALLEST_IMPURITY = 1e-12


class RegionScores(NamedTuple):
    """Maps float32 [H, W] of each pixel's region, on the CPU."""

    acquisition_HW: Tensor
    """Uncertainty times impurity, the higher the more worth a label."""
    impurity_HW: Tensor
    """Entropy of the predicted classes in the region, over log 19."""
    uncertainty_HW: Tensor
    """Mean entropy of the region's predictions, over log 19."""


def region_scores(logits_CHW: Tensor, radius: int, break_ties: bool = True) -> RegionScores:
    """Scores every region of one image (RIPU's RA).

    The authors' impurity of a one-class region is -3e-7 instead of 0 (from the 1e-6 in its logarithm), so that such
    regions rank upside down: the least uncertain first. With `break_ties` impurity is at least 0, and one-class
    regions come last, the most uncertain first. Without it the numbers are the authors'.

    Args:
        logits_CHW: at the resolution of the labels; a leading axis of 1 is allowed.
        radius: the authors use 1, and 9 without source data.
    """
    classes_HW, entropy_HW = _classes_and_entropy(logits_CHW)
    pixels_HW = _pixels_per_region(classes_HW.shape, radius)
    impurity_HW = _predicted_class_entropy(classes_HW, radius) / LOG_SCALE
    uncertainty_HW = _box_sum(entropy_HW / LOG_SCALE, radius) / pixels_HW
    if break_ties:
        impurity_HW, uncertainty_HW = impurity_HW.clip(0), uncertainty_HW.clip(0)
    acquisition_HW = uncertainty_HW * _without_ties(impurity_HW, break_ties)
    return RegionScores(*(torch.from_numpy(scores) for scores in (acquisition_HW, impurity_HW, uncertainty_HW)))


def point_scores(logits_CHW: Tensor, radius: int = 32, break_ties: bool = True) -> Tensor:
    """Scores every pixel, [H, W]: its own entropy times its region's impurity (RIPU's PA), neither over log 19."""
    classes_HW, entropy_HW = _classes_and_entropy(logits_CHW)
    impurity_HW = _predicted_class_entropy(classes_HW, radius)
    if break_ties:
        entropy_HW = entropy_HW.clip(0)
    return torch.from_numpy(entropy_HW * _without_ties(impurity_HW, break_ties))


def _classes_and_entropy(logits_CHW: Tensor) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Predicted class and entropy (with the authors' 1e-6) of each pixel, [H, W]."""
    if logits_CHW.ndim == 4 and len(logits_CHW) == 1:
        logits_CHW = logits_CHW[0]
    if logits_CHW.ndim != 3:
        raise ValueError(f"logits have shape {tuple(logits_CHW.shape)}: pass those of one image, [C, H, W]")
    probabilities_CHW = logits_CHW.detach().float().softmax(dim=0)
    classes_HW = probabilities_CHW.max(dim=0).indices
    entropy_HW = -(probabilities_CHW * (probabilities_CHW + _EPSILON).log()).sum(dim=0)
    # The running sums of the box filter would carry one NaN along its whole row.
    return classes_HW.cpu().numpy(), np.nan_to_num(entropy_HW.cpu().numpy())


def _predicted_class_entropy(classes_HW: NDArray[np.int64], radius: int) -> NDArray[np.float32]:
    """-sum over classes of share * log(share + 1e-6) of the predicted classes in each region.

    Class by class over those that occur: a stack of 19 share maps would take the memory of 19 frames.
    """
    pixels_HW = _pixels_per_region(classes_HW.shape, radius)
    entropy_HW: NDArray[np.float32] = np.zeros(classes_HW.shape, dtype=np.float32)
    for train_id in np.unique(classes_HW):
        share_HW = _box_sum((classes_HW == train_id).astype(np.float32), radius) / pixels_HW
        entropy_HW -= share_HW * np.log(share_HW + np.float32(_EPSILON))
    return entropy_HW


def _without_ties(impurity_HW: NDArray[np.float32], break_ties: bool) -> NDArray[np.float32]:
    """A tiny impurity keeps one-class regions below all others and in the order of their uncertainty."""
    return impurity_HW.clip(np.float32(_SMALLEST_IMPURITY)) if break_ties else impurity_HW


def _pixels_per_region(size: tuple[int, ...], radius: int) -> NDArray[np.float32]:
    return _box_sum(np.ones(size, dtype=np.float32), radius)


def _box_sum(map_HW: NDArray[np.float32], radius: int) -> NDArray[np.float32]:
    """Sum over each pixel's region, in time that does not depend on the radius; nothing lies outside the image."""
    side = (2 * radius + 1, 2 * radius + 1)
    return np.asarray(
        cv2.boxFilter(map_HW, cv2.CV_32F, side, normalize=False, borderType=cv2.BORDER_CONSTANT), dtype=np.float32
    )
