"""A context-aware head for CPUs: depthwise-separable throughout, about 64 channels.

Every level is embedded by a 1x1 convolution at its own resolution, which commutes with the bilinear upsampling that
follows. Context (dilated depthwise branches and the map's mean) is gathered at stride 16, where it costs little, and
the finer levels are added on the way up to stride 4.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adaptation.learning.networks.daformer import SeparableConv
from adaptation.learning.networks.layers import ConvBNReLU, classifier, resized

DILATIONS = (2, 4, 8)


def _embedding(inputs: int, channels: int) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, channels, 1, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv


class DilatedContext(nn.Module):
    """The map, its dilated depthwise views and its mean, mixed by one 1x1 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [ConvBNReLU(channels, channels, 3, dilation=dilation, groups=channels) for dilation in DILATIONS]
        )
        self.mean = nn.Conv2d(channels, channels, 1)  # no batch norm: one value per image
        self.mix = ConvBNReLU(channels * (1 + len(DILATIONS)), channels)

    def forward(self, maps_NCHW: Tensor) -> Tensor:
        mean = F.relu(self.mean(maps_NCHW.mean((2, 3), keepdim=True)))
        return self.mix(torch.cat([maps_NCHW, *(branch(maps_NCHW) for branch in self.branches)], 1)) + mean


class LightHead(nn.Module):
    """Logits and embeddings (the map before dropout and classifier, `channels` wide) at stride 4."""

    stride = 4

    def __init__(self, inputs: Sequence[int], num_classes: int, channels: int = 64, dropout: float = 0.1) -> None:
        super().__init__()
        self.embed_layers = nn.ModuleList([_embedding(level, channels) for level in inputs])
        self.norms = nn.ModuleList([nn.BatchNorm2d(channels) for _ in inputs[:-1]])
        self.refine = nn.ModuleList(
            [SeparableConv(channels, channels), SeparableConv(channels, channels), DilatedContext(channels)]
        )
        self.dropout = nn.Dropout2d(dropout)
        self.conv_seg = classifier(channels, num_classes)

    def embed(self, features: Sequence[Tensor]) -> Tensor:
        coarse = self.embed_layers[3](features[3])
        for level in (2, 1, 0):
            fine = self.embed_layers[level](features[level])
            coarse = self.refine[level](F.relu(self.norms[level](fine + resized(coarse, fine.shape[-2:]))))
        return coarse

    def classify(self, embedding_NDHW: Tensor) -> Tensor:
        return self.conv_seg(self.dropout(embedding_NDHW))


class LightAttention(nn.Module):
    """Scale attention before the sigmoid, at the size of the first map: embeddings summed, batch norm, classifier."""

    def __init__(self, inputs: Sequence[int], num_classes: int, channels: int = 32) -> None:
        super().__init__()
        self.embed_layers = nn.ModuleList([_embedding(level, channels) for level in inputs])
        self.norm = nn.BatchNorm2d(channels)
        self.conv_seg = classifier(channels, num_classes)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        size = features[0].shape[-2:]
        maps = [resized(layer(x), size) for layer, x in zip(self.embed_layers, features, strict=True)]
        return self.conv_seg(F.relu(self.norm(sum(maps[1:], maps[0]))))
