"""The small network of the authors' reference numbers, with weights regenerated from its keys."""

import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from adaptation.learning.networks.hrda import HRDA, build_hrda
from adaptation.learning.networks.normalization import normalize

REFERENCE = Path(__file__).parents[1] / "reference" / "hrda"
TINY = {
    "embed_dims": (8, 16, 40, 64),
    "num_heads": (1, 2, 5, 8),
    "depths": (1, 2, 2, 1),
    "sr_ratios": (8, 4, 2, 1),
    "channels": 32,
    "attention_channels": 24,
}


def reference_weight(key: str, shape: tuple[int, ...]) -> Tensor:
    """The weight that the reference numbers were made with: a normal stream seeded by the key, scaled by its role."""
    if key.endswith("num_batches_tracked"):
        return torch.tensor(7)
    stream = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape)
    if key.endswith("running_mean"):
        weight = 0.3 * stream
    elif key.endswith("running_var"):
        weight = np.exp(0.3 * stream)
    elif len(shape) == 1:
        weight = 1 + 0.2 * stream if key.endswith("weight") else 0.1 * stream
    else:
        weight = stream / np.sqrt(np.prod(shape[1:]))
        if key.endswith("conv_seg.weight"):
            weight *= 3 if "scale_attention" in key else 12
    return torch.from_numpy(weight.astype(np.float16).astype(np.float32))


@pytest.fixture(scope="session")
def reference() -> Callable[[str], Mapping[str, np.ndarray]]:
    """Read one file of reference numbers."""

    def read(name: str) -> Mapping[str, np.ndarray]:
        with np.load(REFERENCE / f"{name}.npz") as arrays:
            return dict(arrays)

    return read


@pytest.fixture(scope="session")
def reference_folder() -> Path:
    return REFERENCE


@pytest.fixture(scope="session")
def tiny_dims() -> dict[str, Any]:
    return dict(TINY)


@pytest.fixture
def tiny() -> HRDA:
    """The reference network in eval mode, stochastic layers off."""
    network = build_hrda("mit_custom", "daformer", drop_path=0.0, dropout=0.0, **TINY)
    network.load_state_dict({key: reference_weight(key, value.shape) for key, value in network.state_dict().items()})
    return network.eval()


@pytest.fixture(scope="session")
def images() -> Callable[[Mapping[str, np.ndarray]], Tensor]:
    """The normalised images of a file of reference numbers."""

    def read(arrays: Mapping[str, np.ndarray]) -> Tensor:
        rgb = arrays["img_rgb_u8"]
        return normalize(torch.from_numpy(rgb if rgb.ndim == 4 else rgb[None]))

    return read
