"""What the teacher says about target images, and how far the student should believe it.

Source: DACS (Tranheden et al., WACV 2021), DAFormer (Hoyer et al., CVPR 2022) and HRDA (Hoyer et al., ECCV 2022).
"""

from typing import NamedTuple

import torch
from torch import Tensor


class PseudoLabels(NamedTuple):
    labels_NHW: Tensor
    """Train ids, int64."""
    confidence_NHW: Tensor
    """Highest probability of each pixel."""


def pseudo_labels(logits_NCHW: Tensor) -> PseudoLabels:
    """The likeliest class of each pixel with its probability."""
    confidence_NHW, labels_NHW = logits_NCHW.softmax(dim=1).max(dim=1)
    return PseudoLabels(labels_NHW, confidence_NHW)


def pseudo_label_weight(confidence_NHW: Tensor, threshold: float = 0.968, valid_NHW: Tensor | None = None) -> Tensor:
    """Weight of each pixel's pseudo-label: one number, the share of pixels of the whole batch at least this confident.

    Pixels where `valid_NHW` (`inside_margins`, cut like the images) is 0 weigh nothing, but count in the share.
    """
    weight = confident_share(confidence_NHW, threshold)
    weights_NHW = weight.expand_as(confidence_NHW)
    return weights_NHW.clone() if valid_NHW is None else weights_NHW * valid_NHW


def confident_share(confidence_NHW: Tensor, threshold: float) -> Tensor:
    """Share of the pixels that are at least this confident, a scalar."""
    return (confidence_NHW >= threshold).to(confidence_NHW.dtype).mean()


def inside_margins(height: int, width: int, top: int, bottom: int, left: int = 0, right: int = 0) -> Tensor:
    """uint8 [H, W]: 0 in the margins, where a camera sees the car or distorts, else 1.

    HRDA masks Cityscapes frames of 1024 x 2048 by 30, 240, 30, 30 before they are cropped; DAFormer masks its crops
    by 15 rows above and 120 below.
    """
    mask_HW = torch.zeros(height, width, dtype=torch.uint8)
    mask_HW[top : height - bottom, left : width - right] = 1
    return mask_HW
