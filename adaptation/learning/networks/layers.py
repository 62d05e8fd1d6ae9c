"""The few layers that encoders and heads share."""

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Head(Protocol):
    """What turns an encoder's maps into logits, in two steps: the penultimate map is useful by itself."""

    stride: int
    """Pixels per cell of its maps."""

    def embed(self, features: Sequence[Tensor]) -> Tensor: ...

    def classify(self, embedding_NDHW: Tensor) -> Tensor: ...


class DropPath(nn.Module):
    """Stochastic depth (Huang et al., ECCV 2016): drops a residual branch per sample; identity in eval mode."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, branch: Tensor) -> Tensor:
        if not self.training or self.probability == 0:
            return branch
        keep = 1 - self.probability
        kept = torch.empty(branch.shape[0], *[1] * (branch.ndim - 1), device=branch.device).bernoulli_(keep)
        return branch * (kept / keep).to(branch.dtype)


class ConvBNReLU(nn.Module):
    """Convolution without bias, batch norm, ReLU; keeps the size at stride 1 (keys `conv` and `bn`)."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, *, dilation: int = 1, groups: int = 1) -> None:
        super().__init__()
        padding = dilation * (kernel // 2)
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, maps: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(maps)))


def classifier(inputs: int, num_classes: int, kernel: int = 1, dilation: int = 1) -> nn.Conv2d:
    """A convolution that starts near zero, as the authors' classifiers do."""
    conv = nn.Conv2d(inputs, num_classes, kernel, padding=dilation * (kernel // 2), dilation=dilation)
    nn.init.normal_(conv.weight, std=0.01)
    nn.init.zeros_(conv.get_parameter("bias"))
    return conv


def resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear without corner alignment; nothing to do where the size is right already."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)
