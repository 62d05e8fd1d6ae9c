"""EfficientNet-Lite0 (Tan and Le, ICML 2019, in its variant for edge devices: ReLU6, no squeeze and excitation)."""

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from adaptation.learning.networks.layers import DropPath


class StageSizes(NamedTuple):
    blocks: int
    kernel: int
    stride: int
    expansion: int
    outputs: int


STEM_CHANNELS = 32
STAGES = (
    StageSizes(1, 3, 1, 1, 16),
    StageSizes(2, 3, 2, 6, 24),
    StageSizes(2, 5, 2, 6, 40),
    StageSizes(3, 3, 2, 6, 80),
    StageSizes(3, 5, 1, 6, 112),
    StageSizes(4, 5, 2, 6, 192),
    StageSizes(1, 3, 1, 6, 320),
)
FEATURE_STAGES = (1, 2, 4, 6)  # the last stage of each stride 4, 8, 16, 32


class SamePadConv(nn.Conv2d):
    """TensorFlow's "same" padding: a strided convolution of an even side is padded at the far edge first."""

    def forward(self, maps_NCHW: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        height, width = (max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in maps_NCHW.shape[-2:])
        padding = (width // 2, width - width // 2, height // 2, height - height // 2)
        if padding[0] == padding[1] == padding[2] == padding[3]:
            return F.conv2d(maps_NCHW, self.weight, self.bias, self.stride, padding[0], groups=self.groups)
        return F.conv2d(F.pad(maps_NCHW, padding), self.weight, self.bias, self.stride, groups=self.groups)


class ConvBN(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = SamePadConv(inputs, outputs, kernel, stride, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out")

    def forward(self, maps_NCHW: Tensor) -> Tensor:
        return self.bn(self.conv(maps_NCHW))


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise convolution, 1x1 projection; residual where the shape stays."""

    def __init__(self, inputs: int, sizes: StageSizes, stride: int, drop_path: float) -> None:
        super().__init__()
        hidden = inputs * sizes.expansion
        self.expand = ConvBN(inputs, hidden) if sizes.expansion > 1 else None
        self.depthwise = ConvBN(hidden, hidden, sizes.kernel, stride, groups=hidden)
        self.project = ConvBN(hidden, sizes.outputs)
        self.residual = stride == 1 and inputs == sizes.outputs
        self.drop_path = DropPath(drop_path)

    def forward(self, maps_NCHW: Tensor) -> Tensor:
        hidden = maps_NCHW if self.expand is None else F.relu6(self.expand(maps_NCHW))
        projected = self.project(F.relu6(self.depthwise(hidden)))
        return maps_NCHW + self.drop_path(projected) if self.residual else projected


class EfficientNetLite0(nn.Module):
    """Features at strides 4, 8, 16 and 32."""

    strides = (4, 8, 16, 32)
    channels = tuple(STAGES[stage].outputs for stage in FEATURE_STAGES)

    def __init__(self, drop_path: float = 0.1) -> None:
        super().__init__()
        self.stem = ConvBN(3, STEM_CHANNELS, 3, 2)
        self.stages = nn.ModuleList()
        inputs, done, total = STEM_CHANNELS, 0, sum(sizes.blocks for sizes in STAGES)
        for sizes in STAGES:
            blocks = []
            for block in range(sizes.blocks):
                stride = sizes.stride if block == 0 else 1
                blocks.append(InvertedResidual(inputs, sizes, stride, drop_path * done / total))
                inputs, done = sizes.outputs, done + 1
            self.stages.append(nn.Sequential(*blocks))

    def forward(self, images_N3HW: Tensor) -> list[Tensor]:
        maps = F.relu6(self.stem(images_N3HW))
        features = []
        for index, stage in enumerate(self.stages):
            maps = stage(maps)
            if index in FEATURE_STAGES:
                features.append(maps)
        return features
