"""Whether an engine computes what the plain torch graph computes, frame by frame and class by class."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from adaptation.learning.evaluation.scores import count_confusion
from adaptation.learning.export.built_for import check_built_for
from adaptation.learning.export.engines import open_engine
from adaptation.learning.export.graph import FrameGraph, reference_graph
from adaptation.learning.export.loaded_engine import FrameOutputs, LoadedEngine
from adaptation.learning.export.logits_inside import LogitsOf, logits_inside
from adaptation.learning.networks.checkpoints import load_network
from exchange.label_space import NUM_CLASSES
from exchange.registry.releases import ENGINE_FOLDER, Manifest, Precision

FrameAndValid = tuple[NDArray[np.uint8], tuple[int, int]]
"""A frame of the release's size, and the rows and columns of it that are no padding."""

LEAST_AGREEMENT: dict[Precision, float] = {"fp32": 0.9999, "bf16": 0.995, "fp16": 0.995}
"""Share of pixels whose label must be the reference's; CONFIDENCE must be near it in as many."""
LEAST_CLASS_IOU: dict[Precision, float] = {"fp32": 0.99, "bf16": 0.90, "fp16": 0.90}
"""The same, class by class, as IoU of the engine's label map with the reference's."""
NEAR_CONFIDENCE: dict[Precision, int] = {"fp32": 2, "bf16": 32, "fp16": 32}
"""How far CONFIDENCE, of 255, may be from the reference's to count as near."""
LARGEST_STATISTICS_ERROR: dict[Precision, float] = {"fp32": 1e-3, "bf16": 2e-2, "fp16": 2e-2}
"""Of PRESENCE and MEAN_PROBABILITY."""
LARGEST_LOGIT_ERROR: dict[Precision, float] = {"fp32": 0.01, "bf16": 0.25, "fp16": 0.25}
"""As a share of the reference's largest logit."""
RARE_PIXELS = 1000
"""A class that the reference sees in fewer pixels than this is shown but not judged: a few pixels decide its IoU."""
_LOGIT_FRAMES = 4
_ADJUSTED_FRAMES = 2
"""Frames that are read once more, with another prior and a part of them taken for padding."""


@dataclass
class Parity:
    """What the comparison found; grows reading by reading."""

    precision: Precision
    confusion_KK: NDArray[np.int64] = field(default_factory=lambda: np.zeros((NUM_CLASSES, NUM_CLASSES), np.int64))
    """Pixels by the reference's label (row) and the engine's (column)."""
    frames: int = 0
    confidence_error: int = 0
    """Largest difference of CONFIDENCE, of 255."""
    far_confidences: int = 0
    """Pixels whose CONFIDENCE is not near the reference's."""
    statistics_error: float = 0.0
    """Largest difference of PRESENCE and MEAN_PROBABILITY."""
    logit_error: float | None = None
    """Largest difference of a logit over the first frames; None where the engine does not show its logits."""
    largest_logit: float = 0.0
    """Of the reference, over the same frames."""

    def add(self, ours: FrameOutputs, truth: FrameOutputs) -> None:
        self.confusion_KK += count_confusion(truth.label_HW, ours.label_HW)
        differences_HW = np.abs(ours.confidence_HW.astype(np.int16) - truth.confidence_HW)
        self.confidence_error = max(self.confidence_error, int(differences_HW.max()))
        self.far_confidences += int((differences_HW > NEAR_CONFIDENCE[self.precision]).sum())
        for mine, its in zip(ours[2:], truth[2:], strict=True):
            self.statistics_error = max(self.statistics_error, _largest(mine - its))

    def add_logits(self, ours_NKHW: NDArray[np.float32], truth_NKHW: NDArray[np.float32]) -> None:
        self.logit_error = max(self.logit_error or 0.0, _largest(ours_NKHW - truth_NKHW))
        self.largest_logit = max(self.largest_logit, _largest(truth_NKHW))

    @property
    def agreement(self) -> float:
        return float(np.trace(self.confusion_KK) / max(int(self.confusion_KK.sum()), 1))

    @property
    def class_iou(self) -> NDArray[np.float64]:
        """NaN for a class that neither sees."""
        hits = np.diag(self.confusion_KK)
        union = self.confusion_KK.sum(axis=0) + self.confusion_KK.sum(axis=1) - hits
        return np.where(union > 0, hits / np.maximum(union, 1), np.nan)

    @property
    def judged(self) -> NDArray[np.bool_]:
        return np.asarray(self.confusion_KK.sum(axis=1) >= RARE_PIXELS)

    @property
    def failures(self) -> tuple[str, ...]:
        """In what the engine differs from the reference by too much, in words."""
        pixels = max(int(self.confusion_KK.sum()), 1)
        least = LEAST_AGREEMENT[self.precision]
        logits = LARGEST_LOGIT_ERROR[self.precision] * self.largest_logit
        held = {
            f"{100 * (1 - self.agreement):.3f} % of the labels": self.agreement >= least,
            "the labels of a class": bool((self.class_iou[self.judged] >= LEAST_CLASS_IOU[self.precision]).all()),
            "CONFIDENCE": 1 - self.far_confidences / pixels >= least,
            "PRESENCE or MEAN_PROBABILITY": self.statistics_error <= LARGEST_STATISTICS_ERROR[self.precision],
            "the logits": self.logit_error is None or self.logit_error <= logits,
        }
        return tuple(what for what, holds in held.items() if not holds)

    @property
    def passes(self) -> bool:
        return not self.failures


def measure_parity(
    release_dir: Path, manifest: Manifest, frames: Iterable[FrameAndValid], on_frame: Callable[[int], None]
) -> Parity:
    """Runs a release's engine and the torch reference on the same frames.

    Raises:
        ReleaseError, CheckpointError, TensorRTError: the release cannot be loaded, or was built for something else.
    """
    check_built_for(release_dir, manifest)
    graph = reference_graph(load_network(release_dir, manifest.network), manifest.frame_size, manifest.windows)
    engine_dir = release_dir / ENGINE_FOLDER
    engine, logits_of = open_engine(engine_dir, manifest), logits_inside(engine_dir, manifest)
    return compare_with_reference(engine, logits_of, graph, manifest.precision, frames, on_frame)


def compare_with_reference(
    engine: LoadedEngine,
    logits_of: LogitsOf | None,
    reference: FrameGraph,
    precision: Precision,
    frames: Iterable[FrameAndValid],
    on_frame: Callable[[int], None],
) -> Parity:
    """Holds all outputs, and the logits inside where they can be had, against the reference graph's."""
    parity = Parity(precision)
    for frame_HW3, valid_hw in frames:
        with torch.inference_mode():
            fused_NKHW = reference.fused(torch.from_numpy(frame_HW3))
        for ratio_K, part_hw in _readings(parity.frames, valid_hw):
            inputs = torch.from_numpy(ratio_K), torch.tensor(part_hw, dtype=torch.int32)
            truth = FrameOutputs(*(tensor.numpy() for tensor in reference.outputs(fused_NKHW, *inputs)))
            parity.add(engine.infer(frame_HW3, ratio_K, part_hw), truth)
        if logits_of is not None and parity.frames < _LOGIT_FRAMES:
            parity.add_logits(logits_of(frame_HW3), fused_NKHW.numpy())
        parity.frames += 1
        on_frame(parity.frames)
    return parity


def _readings(index: int, valid_hw: tuple[int, int]) -> Iterator[tuple[NDArray[np.float32], tuple[int, int]]]:
    """LOG_PRIOR_RATIO and VALID_HW of each time that a frame is read."""
    yield np.zeros(NUM_CLASSES, np.float32), valid_hw
    if index < _ADJUSTED_FRAMES:
        ratio_K = np.random.default_rng(index).normal(0, 1.5, NUM_CLASSES).astype(np.float32)
        yield ratio_K, (max(valid_hw[0] * 3 // 4, 1), max(valid_hw[1] * 2 // 3, 1))


def _largest(values: NDArray[np.float32]) -> float:
    """NaN counts as infinite: it is no small error."""
    return float(np.nan_to_num(np.abs(values).max(), nan=np.inf))
