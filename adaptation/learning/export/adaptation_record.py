"""adaptation.json: how an adapted network came about, and the class distributions that its release needs."""

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from exchange.label_space import NUM_CLASSES
from exchange.registry.releases import OutputPriorIs

ADAPTATION_FILE = "adaptation.json"


class AdaptationRecord(BaseModel):
    """Lies beside an adapted network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: str
    ships: str
    seed: int
    iterations: int
    parent_sha256: str
    """Of the weights that the round started from."""
    round_sha256: str
    """Of round.json: everything that the round was asked for."""
    snapshot_sha256: str
    frame_size: tuple[int, int]
    output_prior: list[float] = Field(min_length=NUM_CLASSES, max_length=NUM_CLASSES)
    """The image-level class distribution that the plain outputs follow."""
    output_prior_is: OutputPriorIs
    source_pixel_frequency: list[float] = Field(min_length=NUM_CLASSES, max_length=NUM_CLASSES)

    @classmethod
    def read(cls, folder: Path) -> Self:
        return cls.model_validate_json((folder / ADAPTATION_FILE).read_text())
