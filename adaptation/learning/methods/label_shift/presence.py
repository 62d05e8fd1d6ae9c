"""Which classes a frame holds, and the image-level class distribution that follows from it.

Source: the label-shift paper "Undoing the Damage of Label Shift for Cross-domain Semantic Segmentation" (CVPR 2022),
equation 17 for predictions and its definition of P_s for labels.
"""

import torch
from numpy.typing import ArrayLike
from torch import Tensor


def presence_scores(probabilities_NCHW: Tensor) -> Tensor:
    """log of the mean of exp(probability) over a frame's pixels: float [N, C], in [0, 1].

    Equation 17 as the authors' code computes it: of softmax probabilities, not of logits. Written with expm1 and
    log1p, since the scores of rare classes (1e-4) would otherwise lie within float32's rounding of 1. The mean is
    over the frame's own pixels; the authors divide by 512 * 1024 whatever the size.
    """
    return torch.expm1(probabilities_NCHW).mean(dim=(2, 3)).log1p()


def present(scores_NC: Tensor, pixel_thresholds_C: ArrayLike) -> Tensor:
    """bool [N, C]: the presence score exceeds the class's share of labelled source pixels (the authors' p_pix)."""
    thresholds_C = torch.as_tensor(pixel_thresholds_C, dtype=torch.float64, device=scores_NC.device)
    return scores_NC.double() > thresholds_C


def image_level_counts(labels_NHW: Tensor, num_classes: int, min_pixels: int) -> Tensor:
    """int64 [C]: how many label maps hold at least `min_pixels` pixels of each class; other ids are ignored.

    The paper counts an image when it has more than n_s pixels of a class, so min_pixels is n_s + 1. Its n_s is
    published nowhere; the authors' counts lie well below those of n_s = 0.

    Raises:
        ValueError: min_pixels is below 1, where every image would hold every class.
    """
    if min_pixels < 1:
        raise ValueError(f"min_pixels is {min_pixels}: pass at least 1 (an image with no pixel of a class lacks it)")
    # Everything that is no class falls into one extra bin, dropped at the end.
    bins_NL = torch.where((labels_NHW >= 0) & (labels_NHW < num_classes), labels_NHW, num_classes).long().flatten(1)
    pixels_NC = torch.zeros(len(bins_NL), num_classes + 1, dtype=torch.int64, device=labels_NHW.device)
    pixels_NC.scatter_add_(1, bins_NL, torch.ones_like(bins_NL))
    return (pixels_NC[:, :num_classes] >= min_pixels).sum(dim=0)


def class_distribution(counts: ArrayLike, smoothing: float = 0.5) -> Tensor:
    """(counts + smoothing) normalised over the last axis, float64 [..., C]; uniform where everything is zero.

    The authors use smoothing 0, which gives an unseen class a share of 0 and a log prior of minus infinity.
    """
    smoothed = torch.as_tensor(counts, dtype=torch.float64) + smoothing
    total = smoothed.sum(dim=-1, keepdim=True)
    return torch.where(total > 0, smoothed / total, 1 / smoothed.shape[-1])
