"""The authors' reference numbers, slimmed down: arrays by file name, as tensors."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

FOLDER = Path(__file__).parent.parent / "reference" / "methods"

Reference = Callable[[str], dict[str, Tensor]]


@pytest.fixture(scope="session")
def reference() -> Reference:
    loaded: dict[str, dict[str, Tensor]] = {}

    def load(name: str) -> dict[str, Tensor]:
        if name not in loaded:
            with np.load(FOLDER / f"{name}.npz") as file:
                loaded[name] = {key: torch.as_tensor(array) for key, array in file.items() if array.dtype.kind != "U"}
        return loaded[name]

    return load
