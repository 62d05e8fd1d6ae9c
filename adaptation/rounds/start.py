"""What a round starts from: a release or a network's folder, opened as it is served."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from pydantic import BaseModel, ConfigDict, Field

from adaptation.evaluation.evaluate import FrameLabeller, open_labeller
from adaptation.label_shift import class_distribution
from adaptation.networks.checkpoints import WEIGHTS_FILE, load_network_config
from adaptation.source_training.record import RECORD_NAME, TrainingRecord
from exchange.label_space import NUM_CLASSES
from exchange.networks import NetworkConfig
from exchange.releases import MANIFEST_NAME, file_sha256, read_manifest

ADAPTATION_FILE = "adaptation.json"


class AdaptationRecord(BaseModel):
    """Lies beside an adapted network: how it came about, and the class distributions that its release needs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: str
    ships: str
    seed: int
    iterations: int
    parent_sha256: str
    snapshot_sha256: str
    frame_size: tuple[int, int]
    output_prior: list[float] = Field(min_length=NUM_CLASSES, max_length=NUM_CLASSES)
    """The image-level class distribution that the plain outputs follow."""
    output_prior_is: str
    source_pixel_frequency: list[float] = Field(min_length=NUM_CLASSES, max_length=NUM_CLASSES)

    @classmethod
    def read(cls, folder: Path) -> Self:
        return cls.model_validate_json((folder / ADAPTATION_FILE).read_text())


@dataclass(frozen=True)
class Start:
    labeller: FrameLabeller
    config: NetworkConfig
    sha256: str
    """Of the weights."""
    output_prior: list[float] | None
    """None where nothing beside the network tells what it was trained on."""


def open_start(folder: Path, frame_size: tuple[int, int] | None, device: torch.device) -> Start:
    """Opens a release or a network's folder.

    Raises:
        CheckpointError, ReleaseError, ValueError: as `open_labeller`.
    """
    labeller = open_labeller(folder, frame_size, device)
    is_release = (folder / MANIFEST_NAME).exists()
    return Start(
        labeller,
        read_manifest(folder).network if is_release else load_network_config(folder),
        file_sha256(folder / WEIGHTS_FILE),
        _output_prior(folder),
    )


def _output_prior(folder: Path) -> list[float] | None:
    if (folder / MANIFEST_NAME).exists():
        return read_manifest(folder).output_prior
    if (folder / ADAPTATION_FILE).exists():
        return AdaptationRecord.read(folder).output_prior
    if (folder / RECORD_NAME).exists():
        counts = TrainingRecord.read(folder).stream_presence_counts
        return list(class_distribution(counts).tolist())
    return None
