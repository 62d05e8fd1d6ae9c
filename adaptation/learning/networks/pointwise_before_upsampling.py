"""DAFormer's head and scale attention in fewer operations, for inference: the same function up to rounding.

A 1x1 convolution commutes with bilinear upsampling. So the linear embedding of each level, the part of the 1x1
convolution that reads it and the batch norm behind become one 1x1 convolution at the level's own resolution, and only
its result is enlarged and summed over the levels. That replaces the ASPP's first branch and the attention's fusion.
"""

import copy
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adaptation.learning.networks.daformer import DAFormerAttention, DAFormerHead
from adaptation.learning.networks.layers import ConvBNReLU, resized
from adaptation.learning.networks.scale_fusion import HRDA


def with_pointwise_first(network: HRDA) -> HRDA:
    """A copy of the network, in eval mode, that computes the same with fewer operations where its head allows it."""
    network = copy.deepcopy(network).eval()
    parts = network.decode_head
    if isinstance(parts.head, DAFormerHead):
        parts.head = _Head(parts.head)
    if isinstance(parts.scale_attention, DAFormerAttention):
        parts.scale_attention = _Attention(parts.scale_attention)
    return network


class _FusedAtOwnResolution(nn.Module):
    """relu(bn(conv(concatenated embeddings))) as a sum of one convolution per level, each enlarged afterwards."""

    @torch.no_grad()
    def __init__(self, embed_layers: nn.ModuleList, fuse: ConvBNReLU) -> None:
        super().__init__()
        norm = fuse.bn
        scale = norm.weight / torch.sqrt(norm.get_buffer("running_var") + norm.eps)
        bias = norm.bias - norm.get_buffer("running_mean") * scale
        parts_OC = (fuse.conv.weight[:, :, 0, 0] * scale[:, None]).chunk(len(embed_layers), 1)
        self.levels = nn.ModuleList()
        for embed, part_OC in zip(embed_layers, parts_OC, strict=True):
            weight_OC = part_OC @ embed.get_parameter("proj.weight")
            bias = bias + part_OC @ embed.get_parameter("proj.bias")
            conv = nn.Conv2d(weight_OC.shape[1], weight_OC.shape[0], 1, bias=False, device=weight_OC.device)
            conv.weight.copy_(weight_OC[:, :, None, None])
            self.levels.append(conv)
        self.bias = nn.Parameter(bias)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        size = features[0].shape[-2:]
        maps = [resized(level(x), size) for level, x in zip(self.levels, features, strict=True)]
        return F.relu(sum(maps, self.bias[:, None, None]))


class _Head(nn.Module):
    stride = DAFormerHead.stride

    def __init__(self, plain: DAFormerHead) -> None:
        super().__init__()
        self.plain = plain
        self.first = _FusedAtOwnResolution(plain.embed_layers, cast(ConvBNReLU, plain.fuse_layer.aspp_modules[0]))

    def embed(self, features: Sequence[Tensor]) -> Tensor:
        maps = self.plain.concatenated(features)
        dilated = [branch(maps) for branch in self.plain.fuse_layer.aspp_modules[1:]]
        return self.plain.fuse_layer.bottleneck(torch.cat([self.first(features), *dilated], 1))

    def classify(self, embedding_NDHW: Tensor) -> Tensor:
        return self.plain.classify(embedding_NDHW)


class _Attention(nn.Module):
    def __init__(self, plain: DAFormerAttention) -> None:
        super().__init__()
        self.fused = _FusedAtOwnResolution(plain.embed_layers, plain.fuse_layer)
        self.conv_seg = plain.conv_seg

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        return self.conv_seg(self.fused(features))
