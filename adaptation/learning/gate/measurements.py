"""What the gate knows of a candidate beside the incumbent: plain numbers, kept as JSON with a round's report."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from exchange.storage.records import PerClass, Record

Share = float
"""0 to 1."""


class LabelledScores(Record):
    """Both networks on the same labelled pixels, as confusion counts [K][K]; rows are the truth."""

    data: str
    frames: int
    incumbent: tuple[tuple[int, ...], ...]
    candidate: tuple[tuple[int, ...], ...]

    @classmethod
    def of(
        cls, data: str, frames: int, incumbent_KK: NDArray[np.int64], candidate_KK: NDArray[np.int64]
    ) -> "LabelledScores":
        return cls(data=data, frames=frames, incumbent=_rows(incumbent_KK), candidate=_rows(candidate_KK))

    @property
    def labelled(self) -> NDArray[np.int64]:
        """Pixels by true class, [K]."""
        return np.array(self.incumbent).sum(axis=1)

    def iou(self, whose: Literal["incumbent", "candidate"]) -> NDArray[np.float64]:
        """By class; NaN where no pixel is labelled so, so that both networks are scored over the same classes."""
        confusion_KK = np.array(getattr(self, whose))
        hits_K = np.diag(confusion_KK)
        union_K = confusion_KK.sum(axis=0) + confusion_KK.sum(axis=1) - hits_K
        return np.where(self.labelled > 0, hits_K / np.maximum(union_K, 1), np.nan)

    def mean_iou(self, whose: Literal["incumbent", "candidate"], fewest_pixels: int = 1) -> float:
        """Over the classes with so many labelled pixels; NaN where none has."""
        counted = self.labelled >= fewest_pixels
        return float(self.iou(whose)[counted].mean()) if counted.any() else float("nan")


class PresenceShares(Record):
    """Of the target's frames, the share in which each class is present."""

    low: PerClass
    """With `high`: the prior's 90 % interval."""
    high: PerClass
    incumbent: PerClass
    candidate: PerClass
    """By the estimator of serving, with the incumbent's thresholds."""


class TargetMeasurements(Record):
    """Both networks on the target's frames, without labels."""

    frames: int
    judge: Literal["the incumbent", "the anchor"]
    """Whose view of the frames counts as the sober one: it has not learned from the candidate's own labels."""
    incumbent_share: PerClass
    """Of the predicted pixels."""
    candidate_share: PerClass
    agreement: Share
    """Pixels that candidate and incumbent label alike."""
    sure: PerClass
    """Share of pixels that the judge is sure are of the class, in every one of its views."""
    kept: PerClass
    """Share of pixels of which the judge is sure that they are of the class, and which the candidate labels so."""
    incumbent_atc: Share
    """Share of pixels above the incumbent's own threshold: the usual estimate of its accuracy."""
    candidate_atc: Share
    incumbent_believed: Share
    """Mean calibrated probability that the judge, over its views, gives the incumbent's labels."""
    candidate_believed: Share
    presence: PresenceShares | None
    """None where there are too few frames for a prior."""

    @property
    def estimated_accuracy(self) -> tuple[Share, Share]:
        """Of incumbent and candidate, without labels.

        The incumbent's is ATC's. The candidate's is the incumbent's and the gain between the two, in the mean of two
        opinions whose errors point in opposite directions: the candidate's own confidence, which self-training
        inflates, and the judge's belief, which shares the incumbent's errors.
        """
        own = self.candidate_atc - self.incumbent_atc
        sober = self.candidate_believed - self.incumbent_believed
        return self.incumbent_atc, self.incumbent_atc + (own + sober) / 2


class EngineMeasurements(Record):
    """The candidate's engine beside its own weights in torch, and beside the incumbent's engine."""

    parity_agreement: Share
    parity_worst_class: str | None
    parity_worst_iou: Share | None
    """Of the classes with enough pixels to judge."""
    parity_passes: bool
    least_agreement: Share
    candidate_s: float = Field(ge=0)
    """Shortest time of a frame, both engines taking turns: what other work on the machine disturbs least."""
    incumbent_s: float = Field(gt=0)


class GateMeasurements(Record):
    """A part that could not be measured is None, and `trouble` says why; `judge` then refuses."""

    format: Literal[1] = 1
    trouble: dict[str, str] = Field(default={})
    """By part: what stood in the way of measuring it."""
    sources: tuple[LabelledScores, ...] | None = None
    """Labelled source data sets."""
    sentinel: LabelledScores | None = None
    """Target regions that people labelled and that no training saw."""
    target: TargetMeasurements | None = None
    engine: EngineMeasurements | None = None


def _rows(confusion_KK: NDArray[np.int64]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(row) for row in confusion_KK.tolist())
