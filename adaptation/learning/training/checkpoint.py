"""A training's state on disk: replaced in one step, so that a kill at any moment leaves the last whole one."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from adaptation.learning.networks.checkpoints import CheckpointError, read_torch_file
from adaptation.learning.training.errors import TrainingError

CHECKPOINT_NAME = "checkpoint.pt"


def write_checkpoint(out: Path, state: Mapping[str, Any]) -> None:
    """Writes tensors and plain values beside the checkpoint, syncs, and renames over it."""
    partial = out / f"{CHECKPOINT_NAME}.partial"
    with partial.open("wb") as file:
        torch.save(dict(state), file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(out / CHECKPOINT_NAME)


def read_checkpoint(out: Path) -> dict[str, Any] | None:
    """The last state that `write_checkpoint` wrote to this folder, on the CPU; None if there is none.

    Raises:
        TrainingError: it is damaged.
    """
    path = out / CHECKPOINT_NAME
    if not path.exists():
        return None
    try:
        return read_torch_file(path)
    except CheckpointError as error:
        raise TrainingError(f"{error}; or delete it to begin anew, or choose another --out") from error
