"""The authors' reference numbers, slimmed down: arrays by file name, as tensors. And no stopwatch on properties."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from torch import Tensor

FOLDER = Path(__file__).parent.parent / "reference" / "methods"

Reference = Callable[[str], dict[str, Tensor]]

# How long an example takes says more about the machine's other work than about the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def reference() -> Reference:
    loaded: dict[str, dict[str, Tensor]] = {}

    def load(name: str) -> dict[str, Tensor]:
        if name not in loaded:
            with np.load(FOLDER / f"{name}.npz") as file:
                loaded[name] = {key: torch.as_tensor(array) for key, array in file.items() if array.dtype.kind != "U"}
        return loaded[name]

    return load
