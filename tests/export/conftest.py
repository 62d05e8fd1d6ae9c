"""Small networks with lively outputs, and random inputs of the contract."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from adaptation.learning.networks.hrda import HRDA, build_network
from exchange.label_space import NUM_CLASSES
from exchange.networks import NetworkConfig

logging.getLogger("torch.__trace").propagate = False  # pytest would keep every record: six times as slow

SMALL_MIT = {
    "embed_dims": (8, 16, 40, 64),
    "num_heads": (1, 2, 5, 8),
    "depths": (1, 1, 1, 1),
    "sr_ratios": (8, 4, 2, 1),
    "channels": 16,
    "attention_channels": 8,
}
CONFIGS = {
    "mit, daformer": NetworkConfig(encoder="mit_custom", head="daformer", dims=SMALL_MIT),
    "mit, light": NetworkConfig(encoder="mit_custom", head="light", dims=SMALL_MIT),
    "efficientnet, light": NetworkConfig(encoder="efficientnet_lite0", head="light"),
    "efficientnet, light, no detail": NetworkConfig(encoder="efficientnet_lite0", head="light", detail=False),
    "resnet, deeplabv2": NetworkConfig(
        encoder="resnet101_v1c", head="deeplabv2", dims={"depths": (1, 1, 1, 1), "base_channels": 8}
    ),
}


@pytest.fixture(scope="session")
def small_network() -> Callable[[str], tuple[NetworkConfig, HRDA]]:
    """small_network(name) builds a network of CONFIGS with varied labels, batch norms not at their start."""

    def build(name: str) -> tuple[NetworkConfig, HRDA]:
        torch.manual_seed(0)
        network = build_network(CONFIGS[name]).eval()
        with torch.no_grad():
            for module in network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.running_mean.normal_(0, 0.3)
                    module.running_var.uniform_(0.5, 1.5)
                if isinstance(module, nn.Conv2d) and module.out_channels == NUM_CLASSES:
                    module.weight.normal_(0, 3 / np.sqrt(module.weight[0].numel()))
                    module.bias.normal_(0, 0.5)
        return CONFIGS[name], network

    return build


@pytest.fixture(scope="session")
def random_inputs() -> Callable[[tuple[int, int]], dict[str, Any]]:
    """random_inputs(size) gives what `LoadedEngine.infer` takes: noise, a prior ratio, padding right and below."""

    def draw(size: tuple[int, int]) -> dict[str, Any]:
        generator = np.random.default_rng(0)
        coarse: NDArray[np.uint8] = generator.integers(0, 256, (size[0] // 8, size[1] // 8, 3), dtype=np.uint8)
        return {
            "frame_HW3": np.ascontiguousarray(coarse.repeat(8, axis=0).repeat(8, axis=1)),
            "log_prior_ratio_K": generator.normal(0, 0.7, NUM_CLASSES).astype(np.float32),
            "valid_hw": (size[0] - 9, size[1] - 18),
        }

    return draw
