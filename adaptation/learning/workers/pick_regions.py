"""What a worker does with its folder: every frame through the network, then the best regions of all."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adaptation.learning.evaluation.evaluate import open_labeller
from adaptation.learning.networks.checkpoints import CheckpointError
from adaptation.learning.rounds.region_requests import full_size_logits
from adaptation.learning.workers.picking import Candidate, as_tasks, candidates, choose, choose_at_random
from exchange.fleet.captured_images import decode_rgb
from exchange.fleet.frames import CapturedFrame, encode_members, join_shard, read_shard
from exchange.images.labels import LabelImageError, decode_index_png, encode_gray_png, encode_palette_png
from exchange.jobs.picking_order import (
    FRAMES_FOLDER,
    ORDER_FILE,
    PICKED_FILE,
    PICKED_FOLDER,
    Picked,
    PickingOrder,
)
from exchange.jobs.round_files import write_whole
from exchange.label_space import NUM_CLASSES
from exchange.regions.tasks import RegionTask
from exchange.registry.releases import ReleaseError
from exchange.storage.records import RecordError

_SUREST = 0.999

LogitsOf = Callable[[CapturedFrame], Tensor]
"""Float32 [K, H, W] at the frame's own size."""


class PickingFailed(Exception):
    """In one line, for people; trying the same again will not help."""


class Picking(NamedTuple):
    tasks: tuple[RegionTask, ...]
    """The largest score first."""
    frames: dict[str, CapturedFrame]
    """Those that are asked about, by their SHA-256, with labels and confidence of the version that asks."""


def pick_regions(folder: Path) -> None:
    """Does what the folder's order says (`picking_order`). Raises PickingFailed where it cannot be done."""
    try:
        order = PickingOrder.decode((folder / ORDER_FILE).read_bytes(), ORDER_FILE)
        frames = {path.stem: _read(path) for path in sorted((folder / FRAMES_FOLDER).glob("*.tar"))}
        logits_of = captured_logits if order.release is None else _network_logits(order.release, len(frames))
        tasks, seen = pick(frames, logits_of, order)
    except (CheckpointError, LabelImageError, RecordError, ReleaseError) as error:
        raise PickingFailed(" ".join(str(error).split())) from error
    if not tasks:
        raise PickingFailed("all of the frames were asked about before: serve more frames, and ask again")
    (folder / PICKED_FOLDER).mkdir(exist_ok=True)
    for sha256, frame in seen.items():
        (folder / PICKED_FOLDER / f"{sha256}.tar").write_bytes(join_shard([encode_members(frame)]))
    write_whole(folder / PICKED_FILE, Picked(tasks=tasks).encode())


def pick(frames: Mapping[str, CapturedFrame], logits_of: LogitsOf, order: PickingOrder) -> Picking:
    """Looks at every frame, and takes the best regions of all.

    Raises:
        RecordError: a frame's pixels cannot be read.
    """
    found: list[Candidate] = []
    seen: dict[str, CapturedFrame] = {}
    for sha256, frame in frames.items():
        image_HW3, logits_KHW = decode_rgb(frame), logits_of(frame)
        before = order.asked_before.get(sha256, ())
        found += candidates(sha256, frame.metadata.drive, image_HW3, logits_KHW, before, order.random_seed)
        seen[sha256] = _as_seen(frame, logits_KHW, order.version)
    chosen = (choose if order.random_seed is None else choose_at_random)(found, order.clicks)
    tasks = as_tasks(chosen, seen, order)
    asked = {task.frame_sha256 for task in tasks}
    return Picking(tasks, {sha256: frame for sha256, frame in seen.items() if sha256 in asked})


def _network_logits(release: Path, frames: int) -> LogitsOf:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    labeller = open_labeller(release, None, device).for_frames(frames)
    return lambda frame: full_size_logits(labeller, decode_rgb(frame))


def captured_logits(frame: CapturedFrame) -> Tensor:
    """Of the answer that was given: its labels as sure as it was, and the rest shared by all other classes."""
    labels_HW, confidence_HW = (decode_index_png(png) for png in (frame.labels_png, frame.confidence_png))
    sure_HW = np.clip(confidence_HW / np.float32(255), 1 / NUM_CLASSES, _SUREST)
    other_KHW = np.broadcast_to(np.log((1 - sure_HW) / (NUM_CLASSES - 1)), (NUM_CLASSES, *sure_HW.shape))
    is_class_KHW = labels_HW[None] == np.arange(NUM_CLASSES)[:, None, None]
    return torch.from_numpy(np.where(is_class_KHW, np.log(sure_HW), other_KHW).astype(np.float32))


def _read(path: Path) -> CapturedFrame:
    return next(iter(read_shard(path.read_bytes(), path.name)))


def _as_seen(frame: CapturedFrame, logits_KHW: Tensor, version: int) -> CapturedFrame:
    """With the labels and the confidence of the version that asks."""
    labels_HW = logits_KHW.argmax(dim=0).numpy().astype(np.uint8)
    confidence_HW: NDArray[np.uint8] = (255 * logits_KHW.softmax(dim=0).amax(dim=0)).round().byte().numpy()
    counts_K = np.bincount(labels_HW.ravel(), minlength=NUM_CLASSES)[:NUM_CLASSES]
    metadata = frame.metadata.model_copy(
        update={
            "model_version": version,
            "mean_confidence": math.fsum(confidence_HW.mean(axis=1)) / len(confidence_HW) / 255,
            "class_fractions": tuple((counts_K / labels_HW.size).tolist()),
        }
    )
    return CapturedFrame(metadata, frame.image, encode_palette_png(labels_HW), encode_gray_png(confidence_HW))
