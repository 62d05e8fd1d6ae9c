"""Labels for the target's frames, made once by the start: what every class is surest of, and what people were asked.

The start labels with the target's own batch-norm statistics (AdaBN, Li et al., 2017), with its own, or both. Of each
class's pixels a share is kept, the surest first, so that frequent classes do not crowd out rare ones (CBST, Zou et al.,
ECCV 2018).
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import nn

from adaptation.learning.data.labelled_frames import LabelledFrame, read_image
from adaptation.learning.evaluation.evaluate import FrameLabeller
from adaptation.learning.networks.hrda import HRDA
from adaptation.learning.networks.layers import resized
from adaptation.learning.networks.normalization import normalize
from adaptation.learning.networks.windows import Size
from adaptation.learning.rounds.snapshot import FrozenFrame, read_asked
from exchange.images.frame_fitting import fit_frame, fitted_size, restore_labels
from exchange.images.labels import encode_gray_png
from exchange.jobs.recipes import PseudoLabelConfig
from exchange.label_space import IGNORE_ID, NUM_CLASSES
from exchange.networks import whole_frame_windows

_LABELS, _RECORD = "labels", "pseudo_labels.json"
_FRAMES_AT_ONCE = 4
_SIZE_STEP = 64
"""Rows and columns that every network takes a multiple of."""


class PseudoLabels(BaseModel):
    """What was kept, beside labels/<name>.png."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    frames: tuple[FrozenFrame, ...]
    thresholds: list[float]
    """Least confidence of a kept pixel, by class."""
    kept: float
    """Share of the pixels that the labels cover."""


class _Seen(NamedTuple):
    labels_HW: NDArray[np.uint8]
    confidence_HW: NDArray[np.float16]


def make_pseudo_labels(
    folder: Path,
    labeller: FrameLabeller,
    snapshot: Path,
    frames: Sequence[FrozenFrame],
    config: PseudoLabelConfig,
    on_frame: Callable[[int, int], None],
) -> None:
    """Writes train ids of the frames, 255 where nothing is sure; a person's word goes before the network's.

    All frames' labels and confidences are held in memory at once, twice: six bytes for a pixel of the network's frame.

    Raises:
        DataError: a frame cannot be read.
    """
    read = [snapshot / frame.image for frame in frames[:: -(-len(frames) // config.statistics_frames)]]
    if config.statistics == "start":
        read = []
    total = len(read) + len(frames)
    views = len(frames) * (1 + config.mirrored)
    adapted = _labellers(labeller, read, config, lambda done: on_frame(done, total))
    labellers = [each.for_frames(views) for each in adapted]
    (folder / _LABELS).mkdir(exist_ok=True)
    seen, sizes = [], []
    for done, frame in enumerate(frames, start=1):
        image_HW3 = read_image(snapshot / frame.image)
        sizes.append(image_HW3.shape[:2])
        seen.append(_label(labellers, image_HW3, labeller.frame_size, config))
        on_frame(len(read) + done, total)
    thresholds_K = _thresholds(seen, config)
    kept = []
    for frame, size, (labels_HW, confidence_HW) in zip(frames, sizes, seen, strict=True):
        sure_HW = np.where(confidence_HW >= thresholds_K[labels_HW], labels_HW, IGNORE_ID).astype(np.uint8)
        labels = restore_labels(sure_HW, (sure_HW.shape[0], sure_HW.shape[1]), (size[0], size[1]))
        if (asked := read_asked(snapshot, frame)) is not None:
            labels = np.where(asked != IGNORE_ID, asked, labels).astype(np.uint8)
        (folder / _LABELS / f"{frame.name}.png").write_bytes(encode_gray_png(labels))
        kept.append(float((labels != IGNORE_ID).mean()))
    record = PseudoLabels(frames=tuple(frames), thresholds=thresholds_K.tolist(), kept=float(np.mean(kept)))
    (folder / _RECORD).write_text(record.model_dump_json(indent=2) + "\n")


def pseudo_labelled(folder: Path, snapshot: Path) -> tuple[LabelledFrame, ...]:
    """The frames with the labels that `make_pseudo_labels` wrote."""
    record = PseudoLabels.model_validate_json((folder / _RECORD).read_text())
    return tuple(
        LabelledFrame(snapshot / frame.image, folder / _LABELS / f"{frame.name}.png", "train", frame.drive)
        for frame in record.frames
    )


def _labellers(
    labeller: FrameLabeller, read: Sequence[Path], config: PseudoLabelConfig, on_frame: Callable[[int], None]
) -> list[FrameLabeller]:
    """The given one, one with statistics of the frames `read`, or both, at each of the configured scales."""
    labellers = [labeller]
    if config.statistics != "start":
        adapted = replace(labeller, network=copy.deepcopy(labeller.network))
        measure_statistics(adapted, read, on_frame)
        labellers = [adapted] if config.statistics == "target" else [labeller, adapted]
    return [_scaled(each, scale) for each in labellers for scale in config.scales]


def _scaled(labeller: FrameLabeller, scale: float) -> FrameLabeller:
    if scale == 1:
        return labeller
    rows, columns = (_SIZE_STEP * max(1, round(scale * length / _SIZE_STEP)) for length in labeller.frame_size)
    return replace(labeller, frame_size=(rows, columns), windows=whole_frame_windows((rows, columns)))


@torch.no_grad()
def measure_statistics(labeller: FrameLabeller, images: Sequence[Path], on_frame: Callable[[int], None]) -> None:
    """Gives the labeller's network batch-norm statistics of these frames in place of its own.

    A network without batch norm stays as it is.
    """
    network = labeller.network.eval()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    pace = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
        norm.train()
    for start in range(0, len(images), _FRAMES_AT_ONCE):
        batch = [
            fit_frame(read_image(path), labeller.frame_size)[0] for path in images[start : start + _FRAMES_AT_ONCE]
        ]
        _read(network, labeller, np.stack(batch))
        on_frame(start + len(batch))
    for norm, momentum in zip(norms, pace, strict=True):
        norm.momentum = momentum
        norm.eval()


def _read(network: HRDA, labeller: FrameLabeller, frames_NHW3: NDArray[np.uint8]) -> None:
    images_N3HW = normalize(torch.from_numpy(frames_NHW3).to(labeller.device))
    network.fused(images_N3HW, labeller.windows.detail_crop, labeller.windows.detail_stride)


def _label(
    labellers: Sequence[FrameLabeller], image_HW3: NDArray[np.uint8], frame_size: Size, config: PseudoLabelConfig
) -> _Seen:
    """By the mean of the probabilities, at the size that the image has within a frame of `frame_size`.

    Where views must agree and do not, nothing is sure.
    """
    size = fitted_size((image_HW3.shape[0], image_HW3.shape[1]), frame_size)
    views = [_probabilities(each, image_HW3, size) for each in labellers]
    if config.mirrored:
        mirror_HW3 = np.ascontiguousarray(image_HW3[:, ::-1])
        views += [_probabilities(each, mirror_HW3, size).flip(-1) for each in labellers]
    confidence_HW, labels_HW = torch.stack(views).mean(dim=0).max(dim=0)
    if config.agreed:
        for view_KHW in views:
            confidence_HW = confidence_HW.masked_fill(view_KHW.argmax(dim=0) != labels_HW, 0)
    return _Seen(labels_HW.to(torch.uint8).cpu().numpy(), confidence_HW.half().cpu().numpy())


@torch.inference_mode()
def _probabilities(labeller: FrameLabeller, image_HW3: NDArray[np.uint8], size: Size) -> torch.Tensor:
    logits_NKHW, (rows, columns) = labeller.logits(image_HW3)
    return resized(logits_NKHW[:, :, :rows, :columns], size).softmax(dim=1)[0]


def _thresholds(seen: Sequence[_Seen], config: PseudoLabelConfig) -> NDArray[np.float64]:
    """Of each class the confidence that a share of its pixels reaches, or the one that is enough for any class."""
    thresholds_K = np.ones(NUM_CLASSES)
    labels_M = np.concatenate([each.labels_HW.ravel() for each in seen])
    confidence_M = np.concatenate([each.confidence_HW.ravel() for each in seen])
    labels_M = np.where(confidence_M > 0, labels_M, IGNORE_ID)  # 0: views that must agree did not
    for k in range(NUM_CLASSES):
        if len(of_class := confidence_M[labels_M == k]):
            quantile = np.quantile(of_class.astype(np.float32), 1 - config.kept_share)
            thresholds_K[k] = min(float(quantile), config.sure_enough)
    return thresholds_K
