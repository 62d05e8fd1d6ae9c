"""Labels for the target's frames, made once by the start: what every class is surest of, and what people were asked.

The start labels with the target's own batch-norm statistics (AdaBN, Li et al., 2017). Of each class's pixels a share is
kept, the surest first, so that frequent classes do not crowd out rare ones (CBST, Zou et al., ECCV 2018).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import nn

from adaptation.data.labelled_frames import LabelledFrame, read_image
from adaptation.data.normalization import normalize
from adaptation.evaluation.evaluate import FrameLabeller
from adaptation.networks.hrda import HRDA
from adaptation.rounds.recipes import PseudoLabelConfig
from adaptation.rounds.snapshot import FrozenFrame, read_asked
from exchange.frame_fitting import fit_frame, restore_labels
from exchange.label_images import encode_gray_png
from exchange.label_space import IGNORE_ID, NUM_CLASSES

_LABELS, _RECORD = "labels", "pseudo_labels.json"
_FRAMES_AT_ONCE = 4


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
    total = len(read) + len(frames)
    measure_statistics(labeller, read, lambda done: on_frame(done, total))
    (folder / _LABELS).mkdir(exist_ok=True)
    seen, sizes = [], []
    for done, frame in enumerate(frames, start=1):
        image_HW3 = read_image(snapshot / frame.image)
        sizes.append(image_HW3.shape[:2])
        seen.append(_label(labeller, image_HW3))
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


@torch.inference_mode()
def _label(labeller: FrameLabeller, image_HW3: NDArray[np.uint8]) -> _Seen:
    """At the size that the image has within the network's frame."""
    frame, (rows, columns) = fit_frame(image_HW3, labeller.frame_size)
    images_N3HW = normalize(torch.from_numpy(frame)[None].to(labeller.device))
    logits_NKHW = labeller.network.forward_frame(images_N3HW, labeller.windows)
    confidence_HW, labels_HW = logits_NKHW[0, :, :rows, :columns].softmax(dim=0).max(dim=0)
    return _Seen(labels_HW.to(torch.uint8).cpu().numpy(), confidence_HW.half().cpu().numpy())


def _thresholds(seen: Sequence[_Seen], config: PseudoLabelConfig) -> NDArray[np.float64]:
    """Of each class the confidence that a share of its pixels reaches, or the one that is enough for any class."""
    thresholds_K = np.ones(NUM_CLASSES)
    labels_M = np.concatenate([each.labels_HW.ravel() for each in seen])
    confidence_M = np.concatenate([each.confidence_HW.ravel() for each in seen])
    for k in range(NUM_CLASSES):
        if len(of_class := confidence_M[labels_M == k]):
            quantile = np.quantile(of_class.astype(np.float32), 1 - config.kept_share)
            thresholds_K[k] = min(float(quantile), config.sure_enough)
    return thresholds_K
