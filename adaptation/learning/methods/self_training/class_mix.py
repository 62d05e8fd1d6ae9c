"""Source pixels of half the classes, pasted into target images (ClassMix, Olsson et al., WACV 2021; DACS)."""

from collections.abc import Sequence

import torch
from torch import Tensor


def choose_classes(labels_NHW: Tensor, generator: torch.Generator) -> list[Tensor]:
    """For each sample, half of the classes (rounded up) that occur anywhere in the batch; 255 is one of them.

    The authors choose among the classes of the whole batch, so a sample may lack some of its own choice.
    """
    classes = labels_NHW.unique()
    count = (len(classes) + 1) // 2
    return [classes[torch.randperm(len(classes), generator=generator)[:count]] for _ in labels_NHW]


def class_masks(labels_NHW: Tensor, chosen: Sequence[Tensor]) -> Tensor:
    """bool [N, H, W]: pixels of the classes chosen for their sample."""
    pairs = zip(labels_NHW, chosen, strict=True)
    return torch.stack([torch.isin(labels_HW, classes.to(labels_HW)) for labels_HW, classes in pairs])


def class_mix(masks_NHW: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Source where the mask is set, else target: images [N, 3, H, W], labels or weights [N, H, W]."""
    masks = masks_NHW if source.ndim == masks_NHW.ndim else masks_NHW.unsqueeze(1)
    return torch.where(masks, source, target)
