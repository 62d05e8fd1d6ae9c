"""The one dense map that the DeepLab heads read: the last level at stride 8, or the coarser levels brought to it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from adaptation.learning.networks.layers import resized

STRIDE = 8


def first_dense_level(strides: Sequence[int]) -> int:
    """The first level to take: the last one where it is dense itself, else the level at stride 8."""
    last = len(strides) - 1
    return last if strides[last] == STRIDE else list(strides).index(STRIDE)


def dense_map(features: Sequence[Tensor], first_level: int) -> Tensor:
    """Levels from `first_level` on, resized to its size and concatenated."""
    size = features[first_level].shape[-2:]
    return torch.cat([resized(level, size) for level in features[first_level:]], 1)
