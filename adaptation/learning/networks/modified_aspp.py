"""The "modified ASPP" of the label-shift and self-labelling papers: group norm, five branches, channel attention.

Liu et al., "Undoing the damage of label shift" (WACV 2022); Li et al., "Class-balanced pixel-level self-labeling"
(CVPR 2022).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from adaptation.learning.networks.dense_levels import STRIDE, dense_map, first_dense_level
from adaptation.learning.networks.light_head import LightAttention

DILATIONS = (6, 12, 18, 24)
GROUPS = 32
SQUEEZE = 16


class ChannelAttention(nn.Module):
    """Scales each channel by a gate computed from all channels' means (Hu et al., CVPR 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // SQUEEZE
        self.se = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, channels), nn.Sigmoid()
        )

    def forward(self, maps_NCHW: Tensor) -> Tensor:
        return maps_NCHW * self.se(maps_NCHW.mean((2, 3)))[:, :, None, None]


class ModifiedASPPHead(nn.Module):
    """Logits at stride 8; the embedding is the normalised bottleneck map, `channels` wide."""

    stride = STRIDE

    def __init__(
        self,
        inputs: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
        channels: int = 256,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.first_level = first_dense_level(strides)
        width = sum(inputs[self.first_level :])
        groups = min(GROUPS, channels)
        branches = [nn.Conv2d(width, channels, 1)]
        branches += [nn.Conv2d(width, channels, 3, padding=dilation, dilation=dilation) for dilation in DILATIONS]
        self.conv2d_list = nn.ModuleList(
            [nn.Sequential(conv, nn.GroupNorm(groups, channels), nn.ReLU(inplace=True)) for conv in branches]
        )
        bottleneck = nn.Conv2d(channels * len(branches), channels, 3, padding=1)
        nn.init.kaiming_normal_(bottleneck.weight)
        nn.init.zeros_(bottleneck.get_parameter("bias"))
        self.bottleneck = nn.Sequential(
            ChannelAttention(channels * len(branches)), bottleneck, nn.GroupNorm(groups, channels)
        )
        last = nn.Conv2d(channels, num_classes, 1, bias=False)
        nn.init.normal_(last.weight, std=0.001)
        self.head = nn.Sequential(nn.Dropout2d(dropout), last)

    def embed(self, features: Sequence[Tensor]) -> Tensor:
        dense = dense_map(features, self.first_level)
        return self.bottleneck(torch.cat([branch(dense) for branch in self.conv2d_list], 1))

    def classify(self, embedding_NDHW: Tensor) -> Tensor:
        return self.head(embedding_NDHW)


class DenseAttention(nn.Module):
    """Scale attention for a head at stride 8."""

    def __init__(self, inputs: Sequence[int], strides: Sequence[int], num_classes: int, channels: int) -> None:
        super().__init__()
        self.first_level = first_dense_level(strides)
        self.levels = LightAttention(inputs[self.first_level :], num_classes, channels)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        return self.levels(features[self.first_level :])
