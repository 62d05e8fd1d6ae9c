"""What asked labels teach beside their place in mixed images: RIPU's three losses (Xie et al., CVPR 2022)."""

import torch.nn.functional as F
from torch import Tensor

from adaptation.networks.layers import resized
from adaptation.region_selection import boundary_consistency_loss, negative_learning_loss
from adaptation.rounds.recipes import AskedLabelsConfig
from exchange.label_space import IGNORE_ID


def source_boundary_loss(config: AskedLabelsConfig, logits_NKhw: Tensor, labels_NHW: Tensor) -> Tensor:
    """L_cr, weighted, of the source's logits at any size where the labels (255 ignored) change."""
    full = resized(logits_NKhw, labels_NHW.shape[-2:])
    return config.boundary_weight * boundary_consistency_loss(full, labels_NHW)


def target_losses(config: AskedLabelsConfig, logits_NKhw: Tensor, asked_NHW: Tensor) -> Tensor:
    """The mean cross entropy of the asked pixels (255 not asked; 0 where none is) plus L_nl of all pixels, weighted."""
    full = resized(logits_NKhw, asked_NHW.shape[-2:])
    asked = F.cross_entropy(full, asked_NHW.long(), ignore_index=IGNORE_ID, reduction="sum")
    mean = asked / (asked_NHW != IGNORE_ID).sum().clamp(min=1)
    negative = negative_learning_loss(full.softmax(dim=1), config.negative_below)
    return config.cross_entropy_weight * mean + config.negative_weight * negative
