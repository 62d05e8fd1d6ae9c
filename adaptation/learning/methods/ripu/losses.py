"""RIPU's two losses beside cross entropy (Xie et al., CVPR 2022).

The authors' weights: boundary consistency on the source 0.1, negative learning on the target 1. Each is 0, with zero
gradient, where no pixel counts; the authors' are NaN there.
"""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from exchange.label_space import IGNORE_ID

_EPSILON = 1e-6


def boundary_consistency_loss(logits_NCHW: Tensor, labels_NHW: Tensor, distance: Literal["l1", "kl"] = "l1") -> Tensor:
    """L_cr: how far a prediction is from the mean of its 3 x 3 neighbourhood (itself included), where labels change.

    The paper averages over all pixels; the authors' code, and this, over the labelled pixels of `label_boundary`.
    """
    probabilities_NCHW = logits_NCHW.softmax(dim=1)
    classes = probabilities_NCHW.shape[1]
    padded_NCHW = F.pad(probabilities_NCHW, (1, 1, 1, 1), mode="replicate")
    mean_NCHW = F.conv2d(padded_NCHW, padded_NCHW.new_full((classes, 1, 3, 3), 1 / 9), groups=classes)
    if distance == "l1":
        distance_NCHW = (probabilities_NCHW - mean_NCHW).abs()
    else:
        distance_NCHW = probabilities_NCHW * (probabilities_NCHW / (mean_NCHW + _EPSILON) + _EPSILON).log()
    distance_NHW = distance_NCHW.sum(dim=1)
    counted_NHW = label_boundary(labels_NHW) & (labels_NHW != IGNORE_ID)
    return _mean_where(distance_NHW, counted_NHW)


def negative_learning_loss(probabilities_NCHW: Tensor, threshold: float = 0.05) -> Tensor:
    """L_nl: pushes every probability below `threshold` further down, averaged over them."""
    counted_NCHW = probabilities_NCHW.detach() < threshold
    return _mean_where(-(1 - probabilities_NCHW + _EPSILON).log(), counted_NCHW)


def label_boundary(labels_NHW: Tensor) -> Tensor:
    """bool [N, H, W]: the sum of the eight neighbours' ids is not eight times the pixel's own.

    The authors' Laplacian on ids, zeros around the image: its border counts as a boundary for every class but 0,
    ignored neighbours (255) count, and ids that cancel (4, 5, 6 around 5) hide a boundary.
    """
    ids_NHW = labels_NHW.float()
    box_NHW = F.avg_pool2d(ids_NHW.unsqueeze(1), 3, stride=1, padding=1, divisor_override=1).squeeze(1)
    return box_NHW != 9 * ids_NHW


def _mean_where(values: Tensor, counted: Tensor) -> Tensor:
    # Masked, not multiplied: a value outside the mask may be infinite.
    return values.where(counted, 0).sum() / counted.sum().clamp(min=1)
