"""Small frames by day and at dusk, and a small network that knows the day."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from adaptation.learning.networks.checkpoints import save_network
from adaptation.learning.networks.hrda import build_network
from exchange.networks import NetworkConfig

NETWORK = NetworkConfig(
    encoder="mit_custom",
    head="light",
    dims={
        "embed_dims": (8, 16, 40, 64),
        "num_heads": (1, 2, 5, 8),
        "depths": (1, 1, 1, 1),
        "sr_ratios": (8, 4, 2, 1),
        "channels": 16,
        "attention_channels": 8,
    },
)


PLAIN_NETWORK = NetworkConfig(
    encoder="mit_custom",
    head="light",
    detail=False,
    dims={name: size for name, size in NETWORK.dims.items() if name != "attention_channels"},
)
"""Without detail windows, so that its engine is built in a few seconds."""


def write_frames(root: Path, brightness: float, cars: int) -> Path:
    """Six CamVid frames of 60x80: sky over road, with cars of their own colour."""
    rng = np.random.default_rng(0)
    for folder in ("frames", "labels"):
        (root / folder).mkdir(parents=True)
    colors = np.zeros((12, 3))
    colors[[0, 3, 8]] = (120, 170, 230), (90, 90, 90), (160, 30, 30)
    for index in range(6):
        labels = np.full((60, 80), 3, dtype=np.uint8)
        labels[:25] = 0
        for _ in range(cars):
            x = int(rng.integers(60))
            labels[20:36, x : x + 20] = 8
        noise = rng.integers(20, size=(60, 80, 1))
        image = (brightness * (colors[labels] + noise)).astype(np.uint8)
        Image.fromarray(image).save(root / "frames" / f"0006R0_f{index:05}.png")
        Image.fromarray(labels).save(root / "labels" / f"0006R0_f{index:05}.png")
    return root


@pytest.fixture(scope="session")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_frames(tmp_path_factory.mktemp("data") / "day", 1.0, cars=1)


@pytest.fixture(scope="session")
def dusk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_frames(tmp_path_factory.mktemp("data") / "dusk", 0.5, cars=3)


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_network(tmp_path_factory.mktemp("start"), NETWORK)


@pytest.fixture(scope="session")
def plain_start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_network(tmp_path_factory.mktemp("plain_start"), PLAIN_NETWORK)


def write_network(folder: Path, config: NetworkConfig) -> Path:
    torch.manual_seed(0)
    save_network(folder, config, build_network(config).state_dict())
    return folder
