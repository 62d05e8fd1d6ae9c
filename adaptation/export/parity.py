"""Whether an engine computes what the plain torch graph computes, frame by frame and class by class."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from adaptation.evaluation.scores import count_confusion
from adaptation.export.build_openvino import LOGITS
from adaptation.export.engines import compile_openvino, open_engine
from adaptation.export.graph import FrameGraph, reference_graph
from adaptation.export.loaded_engine import run_eagerly
from adaptation.networks.checkpoints import load_network
from exchange.contract import INPUTS
from exchange.label_space import NUM_CLASSES
from exchange.releases import ENGINE_FOLDER, Manifest, Precision

FrameAndValid = tuple[NDArray[np.uint8], tuple[int, int]]
"""A frame of the release's size, and the rows and columns of it that are no padding."""

LEAST_AGREEMENT: dict[Precision, float] = {"fp32": 0.9999, "bf16": 0.995, "fp16": 0.995}
"""Share of pixels whose label must be the reference's."""
LEAST_CLASS_IOU: dict[Precision, float] = {"fp32": 0.99, "bf16": 0.90, "fp16": 0.90}
"""The same, class by class, as IoU of the engine's label map with the reference's."""
RARE_PIXELS = 1000
"""A class that the reference sees in fewer pixels than this is shown but not judged: a few pixels decide its IoU."""
_LOGIT_FRAMES = 4
_NOISE_FRAMES = 3


@dataclass
class Parity:
    """What the comparison found; grows frame by frame."""

    precision: Precision
    confusion_KK: NDArray[np.int64] = field(default_factory=lambda: np.zeros((NUM_CLASSES, NUM_CLASSES), np.int64))
    """Pixels by the reference's label (row) and the engine's (column)."""
    frames: int = 0
    confidence_error: int = 0
    """Largest difference of CONFIDENCE, of 255."""
    statistics_error: float = 0.0
    """Largest difference of PRESENCE and MEAN_PROBABILITY."""
    logit_error: float | None = None
    """Largest difference of a logit over the first frames; None where the engine does not show its logits."""

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
    def passes(self) -> bool:
        classes_agree = self.class_iou[self.judged] >= LEAST_CLASS_IOU[self.precision]
        return self.agreement >= LEAST_AGREEMENT[self.precision] and bool(classes_agree.all())


def measure_parity(
    release_dir: Path, manifest: Manifest, frames: Iterable[FrameAndValid], on_frame: Callable[[int], None]
) -> Parity:
    """Runs a release's engine and the torch reference on the same frames.

    Raises:
        ReleaseError, CheckpointError, TensorRTError: the release cannot be loaded.
    """
    graph = reference_graph(load_network(release_dir, manifest.network), manifest.frame_size, manifest.windows)
    engine_dir = release_dir / ENGINE_FOLDER
    engine, reference = open_engine(engine_dir, manifest), run_eagerly(graph)
    logits = _openvino_logits(engine_dir, manifest) if manifest.engine == "openvino" else None
    parity = Parity(manifest.precision)
    for frame, valid_hw in frames:
        ours, truth = engine.infer(frame, valid_hw=valid_hw), reference.infer(frame, valid_hw=valid_hw)
        parity.confusion_KK += count_confusion(truth.label_HW, ours.label_HW)
        parity.confidence_error = max(parity.confidence_error, _largest(ours.confidence_HW, truth.confidence_HW))
        for mine, its in zip(ours[2:], truth[2:], strict=True):
            parity.statistics_error = max(parity.statistics_error, float(np.abs(mine - its).max()))
        if logits is not None and parity.frames < _LOGIT_FRAMES:
            error = float(np.abs(logits(frame, valid_hw) - _reference_logits(graph, frame)).max())
            parity.logit_error = max(parity.logit_error or 0.0, error)
        parity.frames += 1
        on_frame(parity.frames)
    return parity


def noise_frames(frame_size: tuple[int, int]) -> Iterator[FrameAndValid]:
    """Frames to compare on where there are no real ones: smooth noise, always the same."""
    rng = np.random.default_rng(0)
    rows, columns = frame_size
    for _ in range(_NOISE_FRAMES):
        coarse = rng.integers(0, 256, (1 + rows // 16, 1 + columns // 16, 3), dtype=np.uint8)
        yield np.ascontiguousarray(coarse.repeat(16, axis=0).repeat(16, axis=1)[:rows, :columns]), frame_size


def _largest(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> int:
    return int(np.abs(one.astype(np.int16) - other).max())


@torch.inference_mode()
def _reference_logits(graph: FrameGraph, frame_HW3: NDArray[np.uint8]) -> NDArray[np.float32]:
    return graph.fused(torch.from_numpy(frame_HW3)).numpy()


def _openvino_logits(
    engine_dir: Path, manifest: Manifest
) -> Callable[[NDArray[np.uint8], tuple[int, int]], NDArray[np.float32]]:
    request = compile_openvino(engine_dir, manifest.precision, with_logits=True).create_infer_request()

    def run(frame_HW3: NDArray[np.uint8], valid_hw: tuple[int, int]) -> NDArray[np.float32]:
        inputs = (frame_HW3, np.zeros(NUM_CLASSES, np.float32), np.array(valid_hw, np.int32))
        request.infer({spec.name: array for spec, array in zip(INPUTS, inputs, strict=True)})
        return np.array(request.get_tensor(LOGITS).data)

    return run
