"""Keeps the encoder's idea of things (persons, vehicles, signs) near the one it had from ImageNet.

Source: DAFormer (Hoyer et al., CVPR 2022), section 3.3.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from exchange.label_space import IGNORE_ID, NUM_CLASSES, THING_CLASSES


def downscale_labels(
    labels_NHW: Tensor, factor: int, smallest_share: float = 0.75, num_classes: int = NUM_CLASSES
) -> Tensor:
    """The most frequent class of each factor x factor block, int64 [N, H / factor, W / factor].

    255 where that class holds less than `smallest_share` of the block, or ignored pixels are the most frequent. Of
    equally frequent ones the lowest id counts. Rows and columns beyond the last whole block are left out.
    """
    height, width = (side // factor for side in labels_NHW.shape[-2:])
    whole = labels_NHW[:, : height * factor, : width * factor].long()
    bins = torch.where(whole < num_classes, whole, num_classes)
    blocks = bins.view(-1, height, factor, width, factor).transpose(2, 3).flatten(3)
    counts = torch.zeros(*blocks.shape[:3], num_classes + 1, dtype=torch.int64, device=labels_NHW.device)
    counts.scatter_add_(3, blocks, torch.ones_like(blocks))
    most, winners = counts.max(dim=3)
    unclear = (winners == num_classes) | (most < smallest_share * factor**2)
    return winners.masked_fill(unclear, IGNORE_ID)


def feature_distance(
    features_NDhw: Tensor,
    reference_NDhw: Tensor,
    labels_NHW: Tensor,
    classes: Sequence[int] = THING_CLASSES,
    smallest_share: float = 0.75,
) -> Tensor:
    """Mean L2 distance over channels between two feature maps, where the label is one of `classes`.

    Args:
        labels_NHW: of the images, brought to the maps' size by `downscale_labels`.

    Returns:
        A scalar; 0, with zero gradient, where no cell shows such a class (the authors' is NaN).
    """
    shown_Nhw = thing_cells(labels_NHW, features_NDhw.shape[-1], classes, smallest_share)
    return mean_distance(features_NDhw, reference_NDhw, shown_Nhw)


def thing_cells(
    labels_NHW: Tensor, columns: int, classes: Sequence[int] = THING_CLASSES, smallest_share: float = 0.75
) -> Tensor:
    """bool [N, h, w]: the cells of a map with so many columns that show one of the classes."""
    small_Nhw = downscale_labels(labels_NHW, labels_NHW.shape[-1] // columns, smallest_share)
    return torch.isin(small_Nhw, torch.tensor(classes, device=small_Nhw.device))


def mean_distance(features_NDhw: Tensor, reference_NDhw: Tensor, counted_Nhw: Tensor) -> Tensor:
    """Mean L2 distance over channels at the counted cells; 0 where there is none."""
    differences_MD = (features_NDhw - reference_NDhw).movedim(1, -1)[counted_Nhw]
    return differences_MD.norm(dim=1).sum() / max(len(differences_MD), 1)
