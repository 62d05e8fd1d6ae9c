"""training.json: what was trained on what, and the class distributions that a release's manifest needs."""

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict

from adaptation.learning.training.recipes import TrainingConfig

RECORD_NAME = "training.json"


class DataRecord(BaseModel):
    """One data set as it was used."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: str
    layout: str
    split: str | None
    sequences: tuple[str, ...]
    weight: float
    frames: int
    sha256: str | None = None
    """Over the frames' names and their pixels by class; older records have none."""


class TrainingRecord(BaseModel):
    """A finished source training. All per-class lists have 19 entries."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    config: TrainingConfig
    data: tuple[DataRecord, ...]
    seed: int
    iterations: int
    processes: int
    start_sha256: str | None = None
    """Of the weights that were given to start from; None for the recipe's own start."""
    source_pixel_frequency: list[float]
    """Share of each class in all labelled source pixels, each data set by its weight."""
    source_presence_counts: list[int]
    """Labelled source frames in which a class is present, by the rule of `class_statistics.is_present`."""
    source_frames: int
    stream_pixel_frequency: list[float]
    """The same over the training crops as they were drawn, rare classes more often."""
    stream_presence_counts: list[int]
    stream_crops: int
    losses: list[float]
    """Mean loss of each stretch of `loss_every` iterations."""
    loss_every: int
    training_s: float

    def write(self, out: Path) -> None:
        partial = out / f"{RECORD_NAME}.partial"
        partial.write_text(self.model_dump_json(indent=2) + "\n")
        partial.replace(out / RECORD_NAME)

    @classmethod
    def read(cls, out: Path) -> Self:
        return cls.model_validate_json((out / RECORD_NAME).read_text())
