"""The target's prior beside the source's, measured with the network that the round starts from."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from adaptation.learning.data.class_statistics import is_present, pixel_frequency
from adaptation.learning.data.labelled_frames import read_image
from adaptation.learning.evaluation.evaluate import FrameLabeller
from adaptation.learning.methods.label_shift import (
    Estimator,
    FrameEvidence,
    PosteriorMaximization,
    ThresholdedPresence,
    class_distribution,
    estimate_prior,
    presence_scores,
)
from exchange.images.frame_fitting import restore_labels
from exchange.images.labels import encode_gray_png
from exchange.jobs.recipes import EstimatorName

PRIOR_FILE = "prior.json"
_PIXELS_PER_FRAME = 256


class PriorRecord(BaseModel):
    """A measured prior. All lists have 19 entries."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    estimator: EstimatorName
    frames: int
    effective_frames: float
    resampled: str
    source: list[float]
    target: list[float]
    low: list[float]
    high: list[float]
    log_ratio: list[float]
    """log target - log source, believed by the number of effective frames and clipped."""
    output_prior_before: list[float]
    """The source's: what outputs follow that are trained on it without `log_ratio`."""
    output_prior_rectified: list[float]
    """What outputs follow that `log_ratio` has moved, once."""
    source_pixel_frequency: list[float]
    mean_confidence: float
    """Over the target: the highest probability of each pixel."""
    labelling_s: float
    """Time that labelling the target's frames took."""

    @classmethod
    def read(cls, folder: Path) -> Self:
        return cls.model_validate_json((folder / PRIOR_FILE).read_text())


class NamedImage(NamedTuple):
    name: str
    path: Path
    drive: str


def measure_prior(
    folder: Path,
    labeller: FrameLabeller,
    name: EstimatorName,
    target: Sequence[NamedImage],
    source: Sequence[Path],
    source_counts: NDArray[np.int64],
    source_prior: list[float] | None,
    seed: int,
    on_frame: Callable[[int, int], None],
) -> None:
    """Labels frames of both domains; writes prior.json, and the target's labels to labels/<name>.png.

    Args:
        source_counts: pixels by class of all source frames, [N, 19].
        source_prior: what outputs trained on the source follow; None takes it from the source's labels.

    Raises:
        DataError: a frame cannot be read.
    """
    (folder / "labels").mkdir(exist_ok=True)
    total = len(target) + len(source)
    labeller = labeller.for_frames(total)
    started_s = time.monotonic()
    readings = []
    for done, image in enumerate(target, start=1):
        reading = read_frame_evidence(labeller, image.path, done)
        (folder / "labels" / f"{image.name}.png").write_bytes(encode_gray_png(reading.labels_HW))
        readings.append(reading)
        on_frame(done, total)
    labelling_s = time.monotonic() - started_s
    source_readings = []
    for done, path in enumerate(source, start=1):
        source_readings.append(read_frame_evidence(labeller, path, done))
        on_frame(len(target) + done, total)
    frequency = pixel_frequency(source_counts)
    labelled = class_distribution(is_present(source_counts, frequency).sum(axis=0))
    evidence = _evidence(readings, [image.drive for image in target])
    estimator = _estimator(name, _evidence(source_readings, [""] * len(source)), torch.from_numpy(frequency), labelled)
    estimate = estimate_prior(estimator, evidence, np.random.default_rng(seed))
    log_ratio = estimate.log_ratio()
    before = labelled if source_prior is None else torch.tensor(source_prior, dtype=torch.float64)
    moved = before * log_ratio.exp()
    record = PriorRecord(
        estimator=name,
        frames=len(target),
        effective_frames=estimate.effective_frames,
        resampled=estimate.resampled,
        source=estimate.source_C.tolist(),
        target=estimate.target_C.tolist(),
        low=estimate.low_C.tolist(),
        high=estimate.high_C.tolist(),
        log_ratio=log_ratio.tolist(),
        output_prior_before=before.tolist(),
        output_prior_rectified=(moved / moved.sum()).tolist(),
        source_pixel_frequency=frequency.tolist(),
        mean_confidence=float(np.mean([reading.confidence for reading in readings])),
        labelling_s=round(labelling_s, 3),
    )
    (folder / PRIOR_FILE).write_text(record.model_dump_json(indent=2) + "\n")


class FrameReading(NamedTuple):
    labels_HW: NDArray[np.uint8]
    """At the frame's own size."""
    presence_C: Tensor
    pixels_SC: Tensor
    """Calibrated probabilities of pixels drawn at random."""
    confidence: float


@torch.inference_mode()
def read_frame_evidence(labeller: FrameLabeller, path: Path, seed: int) -> FrameReading:
    """What the network says about a frame, padding left out. Raises DataError if it cannot be read."""
    image_HW3 = read_image(path)
    logits, valid_hw = labeller.logits(image_HW3)
    logits = logits[..., : valid_hw[0], : valid_hw[1]].cpu()
    probabilities = logits.softmax(dim=1)
    confidence_HW, labels_HW = probabilities[0].max(dim=0)
    places = torch.from_numpy(np.random.default_rng(seed).integers(labels_HW.numel(), size=_PIXELS_PER_FRAME))
    return FrameReading(
        restore_labels(labels_HW.to(torch.uint8).numpy(), valid_hw, (image_HW3.shape[0], image_HW3.shape[1])),
        presence_scores(probabilities)[0],
        (logits[0].flatten(1)[:, places].T / labeller.temperature).softmax(dim=1),
        float(confidence_HW.mean()),
    )


def _evidence(readings: Sequence[FrameReading], drives: Sequence[str]) -> FrameEvidence:
    presence_NC = torch.stack([reading.presence_C for reading in readings])
    return FrameEvidence(presence_NC, torch.stack([reading.pixels_SC for reading in readings]), drives)


def _estimator(name: EstimatorName, source: FrameEvidence, thresholds_C: Tensor, labelled_C: Tensor) -> Estimator:
    if name == "presence":
        return ThresholdedPresence.measured_on(source, thresholds_C)
    if name == "presence against labels":
        return ThresholdedPresence(labelled_C, thresholds_C)
    return PosteriorMaximization(thresholds_C)
