"""A domain's regions by frame, with the pixels that each label is for."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from exchange.fleet.frames import CapturedFrame
from exchange.label_space import IGNORE_ID
from exchange.regions.batches import read_frame
from exchange.regions.labels import paint
from exchange.regions.tasks import UNSURE, RegionBatch, RegionTask
from exchange.storage import StorageRoot
from exchange.storage.locations import region_frame_key
from exchange.storage.readable_objects import UNREADABLE
from exchange.storage.records import RecordError


class AskedRegion(NamedTuple):
    batch_id: str
    task: RegionTask


class AskedFrame(NamedTuple):
    sha256: str
    frame: CapturedFrame
    regions: tuple[AskedRegion, ...]

    @property
    def size_hw(self) -> tuple[int, int]:
        return self.frame.metadata.size_hw

    def labels(self) -> NDArray[np.uint8]:
        """Train ids uint8 [H, W] where a label counts, 255 elsewhere."""
        labels_HW = np.full(self.size_hw, IGNORE_ID, np.uint8)
        for region in self.regions:
            if region.task.label not in (None, UNSURE):
                paint(labels_HW, region.task, region.task.label)
        return labels_HW


def asked_frames(root: StorageRoot, domain: str, batches: Sequence[RegionBatch]) -> Iterator[AskedFrame]:
    """All frames in which a region was asked about and not skipped; what was erased or cannot be read is left out.

    Raises:
        StorageError: the root does not answer.
    """
    by_frame: dict[str, list[tuple[str, RegionTask]]] = {}
    for batch in batches:
        for task in batch.tasks:
            if task.skipped is None:
                by_frame.setdefault(task.frame_sha256, []).append((batch.id, task))
    for sha256, asked in by_frame.items():
        task = asked[-1][1]
        try:
            frame = read_frame(root, domain, task)
        except UNREADABLE as error:
            root.unreadable.note(region_frame_key(domain, sha256, task.model_version), error)
            continue
        if frame is None:
            continue
        yield AskedFrame(sha256, frame, tuple(AskedRegion(batch_id, task) for batch_id, task in asked))


def image_file(frame: CapturedFrame) -> tuple[str, bytes]:
    """The ending of an image file, and what is in it."""
    metadata = frame.metadata
    if metadata.image != "rgb":
        return metadata.image, frame.image
    rgb_HW3 = np.frombuffer(frame.image, np.uint8).reshape(*metadata.size_hw, 3)
    written, png = cv2.imencode(".png", cv2.cvtColor(rgb_HW3, cv2.COLOR_RGB2BGR))
    if not written:
        raise RecordError(f"{metadata.key} cannot be written as PNG")
    return "png", png.tobytes()
