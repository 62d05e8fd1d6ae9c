"""Moving a network's outputs from the class distribution it was trained on to another one.

Source: "Undoing the Damage of Label Shift for Cross-domain Semantic Segmentation" (CVPR 2022): inference adjustment
(IA) adds the log ratio to logits when serving; classifier rectification (CR) retrains the classifier so that its plain
outputs follow the target. Use one of the two: rectified outputs already follow the target.
"""

import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from exchange.label_space import IGNORE_ID
from exchange.plan.priors import PRIOR_FRAMES

LOWEST_SHARE = 1e-6
"""No class is held to be rarer than this, so that every log prior is finite."""


def prior_log_ratio(target: ArrayLike, source: ArrayLike, effective_frames: float, clip: float = 2.0) -> Tensor:
    """a * (log target - log source) clipped to +-clip, float64 [C], with a = N / (N + 256) of N independent frames.

    Few frames say little about rare classes, so they move the outputs little. With effective_frames and clip both
    infinite this is the paper's plain log ratio.

    Raises:
        ValueError: a distribution has a negative or NaN entry, or effective_frames is negative.
    """
    if not effective_frames >= 0:
        raise ValueError(f"effective_frames is {effective_frames}: pass the number of independent frames, 0 or more")
    trust = 1 - PRIOR_FRAMES / (effective_frames + PRIOR_FRAMES)
    return (trust * (_log_shares(target) - _log_shares(source))).clamp(-clip, clip)


def adjust(logits: Tensor, log_ratio: ArrayLike) -> Tensor:
    """Inference adjustment: logits [N, C, ...] + log_ratio [C]. Softmax then gives p * ratio, normalised."""
    return logits + _along_classes(log_ratio, logits)


def rectified_cross_entropy(
    logits_NCHW: Tensor, labels_NHW: Tensor, log_source: ArrayLike, log_target: ArrayLike
) -> Tensor:
    """Classifier rectification's loss: cross entropy of (logits + log P_source - log P_target) on source labels.

    The authors' reduction: the mean over all pixels, ignored ones (255) counting as 0, so a batch without labels
    gives 0. They train the classifier alone with it. Log priors are floored at log 1e-6: an absent class (minus
    infinity) would make the loss NaN.
    """
    floor = torch.tensor(LOWEST_SHARE, dtype=torch.float64).log()
    log_source_C, log_target_C = (
        torch.as_tensor(log_prior, dtype=torch.float64).clamp(min=floor) for log_prior in (log_source, log_target)
    )
    losses_NHW = F.cross_entropy(
        adjust(logits_NCHW, log_source_C - log_target_C), labels_NHW.long(), ignore_index=IGNORE_ID, reduction="none"
    )
    return losses_NHW.mean()


def _log_shares(distribution: ArrayLike) -> Tensor:
    shares_C = torch.as_tensor(distribution, dtype=torch.float64)
    if not bool((shares_C >= 0).all()):
        raise ValueError(f"a class distribution holds a negative or NaN share: {shares_C.tolist()}")
    return shares_C.clamp(min=LOWEST_SHARE).log()


def _along_classes(values_C: ArrayLike, logits: Tensor) -> Tensor:
    values = torch.as_tensor(values_C, dtype=logits.dtype, device=logits.device)
    return values.view(-1, *[1] * (logits.ndim - 2))
