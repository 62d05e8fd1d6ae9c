"""What asked labels teach beside their place in mixed images: RIPU's three losses (Xie et al., CVPR 2022).

Each is a mean over the pixels that count for it, of all processes' batches.
"""

import torch.nn.functional as F
from torch import Tensor

from adaptation.learning.methods.ripu import boundary_consistency_loss, label_boundary, negative_learning_loss
from adaptation.learning.networks.layers import resized
from adaptation.learning.training.processes import ALONE, Processes
from exchange.jobs.recipes import AskedLabelsConfig
from exchange.label_space import IGNORE_ID


def source_boundary_loss(
    config: AskedLabelsConfig, logits_NKhw: Tensor, labels_NHW: Tensor, processes: Processes = ALONE
) -> Tensor:
    """L_cr, weighted, of the source's logits at any size where the labels (255 ignored) change."""
    full = resized(logits_NKhw, labels_NHW.shape[-2:])
    counted = (label_boundary(labels_NHW) & (labels_NHW != IGNORE_ID)).sum()
    loss = processes.weight_of(counted) * boundary_consistency_loss(full, labels_NHW)
    return config.boundary_weight * loss


def target_losses(
    config: AskedLabelsConfig, logits_NKhw: Tensor, asked_NHW: Tensor, processes: Processes = ALONE
) -> Tensor:
    """The mean cross entropy of the asked pixels (255 not asked; 0 where none is) plus L_nl of all pixels, weighted."""
    full = resized(logits_NKhw, asked_NHW.shape[-2:])
    probabilities = full.softmax(dim=1)
    asked = (asked_NHW != IGNORE_ID).sum()
    summed = F.cross_entropy(full, asked_NHW.long(), ignore_index=IGNORE_ID, reduction="sum")
    named = processes.weight_of(asked) * summed / asked.clamp(min=1)
    improbable = (probabilities < config.negative_below).sum()
    negative = processes.weight_of(improbable) * negative_learning_loss(probabilities, config.negative_below)
    return config.cross_entropy_weight * named + config.negative_weight * negative
