"""ResNet (He et al., CVPR 2016) with a deep stem and dilated last stages: "v1c" at stride 8 (DeepLab's encoder)."""

import torch.nn.functional as F
from torch import Tensor, nn

EXPANSION = 4


class Bottleneck(nn.Module):
    def __init__(self, inputs: int, planes: int, stride: int, dilation: int) -> None:
        super().__init__()
        outputs = planes * EXPANSION
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, maps_NCHW: Tensor) -> Tensor:
        shortcut = maps_NCHW if self.downsample is None else self.downsample(maps_NCHW)
        hidden = F.relu(self.bn1(self.conv1(maps_NCHW)))
        hidden = F.relu(self.bn2(self.conv2(hidden)))
        return F.relu(self.bn3(self.conv3(hidden)) + shortcut)


class ResNet(nn.Module):
    """Features at strides 4, 8, 8 and 8: stages 3 and 4 are dilated by 2 and 4 instead of strided.

    The first block of a dilated stage keeps half the stage's dilation, as the authors' encoder does.
    """

    strides = (4, 8, 8, 8)

    def __init__(self, depths: tuple[int, ...] = (3, 4, 23, 3), base_channels: int = 64) -> None:
        super().__init__()
        self.channels = tuple(base_channels * EXPANSION * 2**stage for stage in range(4))
        half = base_channels // 2
        stem: list[nn.Module] = []
        for inputs, outputs, stride in ((3, half, 2), (half, half, 1), (half, base_channels, 1)):
            conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            stem += [conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        self.stem = nn.Sequential(*stem)
        inputs = base_channels
        for stage, (depth, stride, dilation) in enumerate(zip(depths, (1, 2, 1, 1), (1, 1, 2, 4), strict=True)):
            planes = base_channels * 2**stage
            blocks = [Bottleneck(inputs, planes, stride, max(dilation // 2, 1))]
            inputs = planes * EXPANSION
            blocks += [Bottleneck(inputs, planes, 1, dilation) for _ in range(depth - 1)]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images_N3HW: Tensor) -> list[Tensor]:
        maps = F.max_pool2d(self.stem(images_N3HW), 3, 2, 1)
        features = []
        for stage in range(1, 5):
            maps = self.get_submodule(f"layer{stage}")(maps)
            features.append(maps)
        return features
