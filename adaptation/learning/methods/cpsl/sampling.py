"""Which pixels enter the self-labelling, and the class shares that it aims at.

Source: CPSL (Li et al., CVPR 2022). The paper samples M_c = [M * delta_n(c)] pixels of each class of image n and moves
the marginal by momentum; the released code draws pixels uniformly and keeps the marginal that it computed once.
"""

import torch
from torch import Tensor


def class_shares(labels: Tensor, num_classes: int) -> Tensor:
    """delta, float64 [C]: share of each class among the labelled pixels; all zero where nothing is labelled."""
    counts_C = torch.bincount(labels[labels < num_classes].flatten().long(), minlength=num_classes).double()
    return counts_C / counts_C.sum().clamp(min=1)


def uniform_pixels(pixels: int, samples: int, generator: torch.Generator) -> Tensor:
    """The released code's choice: `samples` of `pixels` positions without replacement, int64."""
    return torch.randperm(pixels, generator=generator)[:samples]


def class_balanced_pixels(labels_P: Tensor, shares_C: Tensor, samples: int, generator: torch.Generator) -> Tensor:
    """The paper's choice: samples * shares_C positions of each class (rounded), or all of them where it has fewer.

    Args:
        labels_P: rectified labels of one image, flat; 255 is never chosen.
        shares_C: `class_shares` of that image; each image then mirrors its own classes, none by chance left out.

    Returns:
        Positions in labels_P, int64, ordered by class.
    """
    quotas = (samples * shares_C).round().long().tolist()
    chosen = []
    for train_id, quota in enumerate(quotas):
        positions = (labels_P == train_id).nonzero().flatten()
        chosen.append(positions[torch.randperm(len(positions), generator=generator)[:quota]])
    return torch.cat(chosen)


def update_marginal(marginal_C: Tensor, shares_C: Tensor, momentum: float) -> Tensor:
    """momentum * marginal + (1 - momentum) * shares; unchanged by an image without labels (all shares zero)."""
    if not bool(shares_C.any()):
        return marginal_C
    return momentum * marginal_C + (1 - momentum) * shares_C
