"""What people's answers say of frames: train ids where a region was labelled, 255 elsewhere."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from exchange.fleet.frames import CapturedFrame
from exchange.label_space import IGNORE_ID
from exchange.regions.batches import read_frame
from exchange.regions.tasks import UNSURE, RegionBatch, RegionTask
from exchange.storage import StorageRoot
from exchange.storage.locations import region_frame_key
from exchange.storage.readable_objects import UNREADABLE


class RegionLabels(NamedTuple):
    """One frame's."""

    frame_sha256: str
    key: str
    """The object that holds the frame."""
    frame: CapturedFrame
    """As it was captured; its label map is that of the version that asked last."""
    labels_HW: NDArray[np.uint8]
    tasks: tuple[RegionTask, ...]
    """The labelled ones, in the order in which they were asked."""


def region_labels(
    root: StorageRoot,
    domain: str,
    batches: Sequence[RegionBatch],
    on_damaged: Callable[[str, Exception], None] | None = None,
) -> Iterator[RegionLabels]:
    """Every frame of a domain in which some region got a class, those that were asked about last first.

    Args:
        on_damaged: called with the key of an object that cannot be read, whose frame is left out; None raises instead.

    Raises:
        RecordError, StorageError: a frame cannot be read.
    """
    by_frame: dict[str, list[RegionTask]] = {}
    for batch in reversed(batches):
        for task in reversed(batch.tasks):
            if task.label not in (None, UNSURE):
                by_frame.setdefault(task.frame_sha256, []).insert(0, task)
    for sha256, tasks in by_frame.items():
        key = region_frame_key(domain, sha256, tasks[-1].model_version)
        try:
            painted = _painted(root, domain, tasks)
        except UNREADABLE as error:
            if on_damaged is None:
                raise
            on_damaged(key, error)
            continue
        if painted is not None:
            yield RegionLabels(sha256, key, *painted, tuple(tasks))


def paint(labels_HW: NDArray[np.uint8], task: RegionTask, label: int) -> None:
    """Writes a label to the pixels that the task asks about."""
    box = task.box
    labels_HW[box.top : box.bottom, box.left : box.right][task.segment_hw] = label


def _painted(
    root: StorageRoot, domain: str, tasks: Sequence[RegionTask]
) -> tuple[CapturedFrame, NDArray[np.uint8]] | None:
    """None where the frame was erased."""
    frame = read_frame(root, domain, tasks[-1])
    if frame is None:
        return None
    labels_HW = np.full(tasks[-1].size_hw, IGNORE_ID, dtype=np.uint8)
    for task in tasks:
        assert task.label is not None  # noqa: S101 - only labelled ones are painted
        paint(labels_HW, task, task.label)
    return frame, labels_HW
