"""DAFormer's context-aware head (Hoyer et al., CVPR 2022) and the scale attention that HRDA makes of it."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adaptation.learning.networks.layers import ConvBNReLU, classifier, resized

DILATIONS = (6, 12, 18)


class TokenLinear(nn.Module):
    """A linear layer over the channels of a map (key `proj`)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.proj = nn.Linear(inputs, outputs)

    def forward(self, maps_NCHW: Tensor) -> Tensor:
        return F.conv2d(maps_NCHW, self.proj.weight[:, :, None, None], self.proj.bias)


class SeparableConv(nn.Module):
    def __init__(self, inputs: int, outputs: int, dilation: int = 1) -> None:
        super().__init__()
        self.depthwise_conv = ConvBNReLU(inputs, inputs, 3, dilation=dilation, groups=inputs)
        self.pointwise_conv = ConvBNReLU(inputs, outputs)

    def forward(self, maps_NCHW: Tensor) -> Tensor:
        return self.pointwise_conv(self.depthwise_conv(maps_NCHW))


class SeparableASPP(nn.Module):
    """Parallel dilated separable convolutions (Chen et al., ECCV 2018), without image pooling."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        branches = [SeparableConv(inputs, channels, dilation) for dilation in DILATIONS]
        self.aspp_modules = nn.ModuleList([ConvBNReLU(inputs, channels), *branches])
        self.bottleneck = ConvBNReLU(channels * (1 + len(DILATIONS)), channels, 3)

    def forward(self, maps_NCHW: Tensor) -> Tensor:
        return self.bottleneck(torch.cat([branch(maps_NCHW) for branch in self.aspp_modules], 1))


class _FusedLevels(nn.Module):
    """Embeds every level in `channels`, brings all to the first level's size and concatenates them."""

    def __init__(self, inputs: Sequence[int], channels: int) -> None:
        super().__init__()
        self.embed_layers = nn.ModuleList([TokenLinear(level, channels) for level in inputs])

    def concatenated(self, features: Sequence[Tensor]) -> Tensor:
        size = features[0].shape[-2:]
        return torch.cat([resized(layer(x), size) for layer, x in zip(self.embed_layers, features, strict=True)], 1)


class DAFormerHead(_FusedLevels):
    """Logits and embeddings (the map before dropout and classifier, `channels` wide) at stride 4."""

    stride = 4

    def __init__(self, inputs: Sequence[int], num_classes: int, channels: int = 256, dropout: float = 0.1) -> None:
        super().__init__(inputs, channels)
        self.fuse_layer = SeparableASPP(len(inputs) * channels, channels)
        self.dropout = nn.Dropout2d(dropout)
        self.conv_seg = classifier(channels, num_classes)

    def embed(self, features: Sequence[Tensor]) -> Tensor:
        return self.fuse_layer(self.concatenated(features))

    def classify(self, embedding_NDHW: Tensor) -> Tensor:
        return self.conv_seg(self.dropout(embedding_NDHW))


class DAFormerAttention(_FusedLevels):
    """Scale attention before the sigmoid: the same embeddings, fused by one 1x1 convolution."""

    def __init__(self, inputs: Sequence[int], num_classes: int, channels: int = 256, dropout: float = 0.1) -> None:
        super().__init__(inputs, channels)
        self.fuse_layer = ConvBNReLU(len(inputs) * channels, channels)
        self.dropout = nn.Dropout2d(dropout)
        self.conv_seg = classifier(channels, num_classes)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        return self.conv_seg(self.dropout(self.fuse_layer(self.concatenated(features))))
