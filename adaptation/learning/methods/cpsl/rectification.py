"""Pseudo-labels rectified while training: soft labels of the start, weighted by what the prototypes say now.

Source: CPSL (Li et al., CVPR 2022), its P_SL x P_ST.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from exchange.label_space import IGNORE_ID


class WeakView(NamedTuple):
    """How a training crop was cut from its full frame, in pixels."""

    resized_hw: tuple[int, int]
    crop_top_bottom_left_right: tuple[int, int, int, int]
    flipped: bool


class RectifiedLabels(NamedTuple):
    labels_Nhw: Tensor
    """int64; 255 where the confidence is below the threshold."""
    confidence_Nhw: Tensor
    """Share of the winning class in the normalised product, 0 to 1."""


def follow_view(maps_Dhw: Tensor, view: WeakView, stride: int = 4) -> Tensor:
    """Cuts maps of the full frame as the frame was cut: resized, cropped, mirrored, at 1/stride of its pixels."""
    size = tuple(side // stride for side in view.resized_hw)
    resized_Dhw = F.interpolate(maps_Dhw[None], size=size, mode="bilinear", align_corners=True)[0]
    top, bottom, left, right = (edge // stride for edge in view.crop_top_bottom_left_right)
    cropped_Dhw = resized_Dhw[:, top:bottom, left:right]
    return cropped_Dhw.flip(-1) if view.flipped else cropped_Dhw


def rectify(weights_NChw: Tensor, soft_labels_NCHW: Tensor, threshold: float = 0.0) -> RectifiedLabels:
    """Argmax of P_SL x P_ST, with the confidence of the normalised product.

    Args:
        weights_NChw: P_SL, `prototype_weights`.
        soft_labels_NCHW: P_ST, the teacher's probabilities; resized to the weights' size where it differs.
        threshold: lowest confidence of a label; the authors' stage 1 uses 0.

    A cell whose product is zero for every class has confidence 0 and is never labelled.
    """
    soft_NChw = soft_labels_NCHW.to(weights_NChw.dtype)
    soft_NChw = F.interpolate(soft_NChw, size=weights_NChw.shape[-2:], mode="bilinear", align_corners=True)
    product_NChw = weights_NChw * soft_NChw
    total_Nhw = product_NChw.sum(dim=1).clamp(min=torch.finfo(product_NChw.dtype).tiny)
    largest_Nhw, labels_Nhw = product_NChw.max(dim=1)
    confidence_Nhw = largest_Nhw / total_Nhw
    trusted_Nhw = (confidence_Nhw >= threshold) & (confidence_Nhw > 0)
    return RectifiedLabels(labels_Nhw.masked_fill(~trusted_Nhw, IGNORE_ID), confidence_Nhw)
