"""The DeepLab-v2 head (Chen et al., TPAMI 2018) as HRDA uses it: two dilated convolutions, summed."""

from collections.abc import Sequence

from torch import Tensor, nn

from adaptation.learning.networks.dense_levels import STRIDE, dense_map, first_dense_level
from adaptation.learning.networks.layers import classifier

DILATIONS = (6, 12)


class DilatedClassifier(nn.Module):
    def __init__(self, inputs: int, num_classes: int, dilation: int) -> None:
        super().__init__()
        self.conv = classifier(inputs, num_classes, 3, dilation)

    def forward(self, maps_NCHW: Tensor) -> Tensor:
        return self.conv(maps_NCHW)


class DeepLabV2Head(nn.Module):
    """Logits at stride 8; the embedding is the encoder's dense map itself. It serves as scale attention, too."""

    stride = STRIDE

    def __init__(self, inputs: Sequence[int], strides: Sequence[int], num_classes: int) -> None:
        super().__init__()
        self.first_level = first_dense_level(strides)
        self.aspp_modules = nn.ModuleList(
            [DilatedClassifier(sum(inputs[self.first_level :]), num_classes, dilation) for dilation in DILATIONS]
        )

    def embed(self, features: Sequence[Tensor]) -> Tensor:
        return dense_map(features, self.first_level)

    def classify(self, embedding_NDHW: Tensor) -> Tensor:
        near, far = self.aspp_modules
        return near(embedding_NDHW) + far(embedding_NDHW)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        return self.classify(self.embed(features))
