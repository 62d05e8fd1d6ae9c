"""A training's state on disk: replaced in one step, so that a kill at any moment leaves the last whole one."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

CHECKPOINT_NAME = "checkpoint.pt"


def write_checkpoint(out: Path, state: Mapping[str, Any]) -> None:
    """Writes tensors and plain values beside the checkpoint, syncs, and renames over it."""
    partial = out / f"{CHECKPOINT_NAME}.partial"
    with partial.open("wb") as file:
        torch.save(dict(state), file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(out / CHECKPOINT_NAME)


def read_checkpoint(out: Path, device: torch.device) -> dict[str, Any] | None:
    """The last state that `write_checkpoint` wrote to this folder; None if there is none."""
    path = out / CHECKPOINT_NAME
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    return state
