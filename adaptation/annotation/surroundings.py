"""A region as a person sees it: with enough of the frame around to tell what it is."""

import threading
from collections import OrderedDict
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from adaptation.data.captured_images import decode_rgb
from exchange.frames import CapturedFrame, read_shard
from exchange.label_images import LabelImageError, decode_index_png
from exchange.locations import region_frame_key
from exchange.records import RecordError
from exchange.regions import Box
from exchange.storage import StorageRoot

AROUND = 2.0
"""Of the box's sides, to each side."""
LEAST_AROUND = 64
"""Rows and columns, where the frame has them."""
_FRAMES_KEPT = 8


class Surroundings(NamedTuple):
    rgb_HW3: NDArray[np.uint8]
    """The crop."""
    box: Box
    """The region in the crop."""
    labels_HW: NDArray[np.uint8]
    """The model's train ids in the crop."""

    def segment(self, predicted: int) -> NDArray[np.bool_]:
        """Which pixels of the crop the click is for, bool [H, W]."""
        inside_HW = np.zeros(self.labels_HW.shape, np.bool_)
        inside_HW[self.box.top : self.box.bottom, self.box.left : self.box.right] = True
        return inside_HW & (self.labels_HW == predicted)


class SurroundingsReader:
    """Keeps the last few frames decoded: one frame has several regions."""

    def __init__(self, root: StorageRoot) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[NDArray[np.uint8], NDArray[np.uint8]]] = OrderedDict()

    def read(self, domain: str, frame_sha256: str, version: int, box: Box) -> Surroundings | None:
        """None where the frame was erased. Raises RecordError or StorageError."""
        key = region_frame_key(domain, frame_sha256, version)
        found = self._root.read_if_any(key)
        if found is None:
            return None
        with self._lock:
            decoded = self._kept.get(found.etag)
        if decoded is None:
            frame = next(iter(read_shard(found.data, key)), None)
            if frame is None:
                return None
            decoded = decode_rgb(frame), _decode_labels(frame, key)
            with self._lock:
                self._kept[found.etag] = decoded
                while len(self._kept) > _FRAMES_KEPT:
                    self._kept.popitem(last=False)
        return _crop(*decoded, box)


def _decode_labels(frame: CapturedFrame, key: str) -> NDArray[np.uint8]:
    try:
        return decode_index_png(frame.labels_png)
    except LabelImageError as error:
        raise RecordError(f"{key}: {error}") from error


def _crop(rgb_HW3: NDArray[np.uint8], labels_HW: NDArray[np.uint8], box: Box) -> Surroundings:
    rows, columns = labels_HW.shape
    around = max(int(AROUND * max(box.bottom - box.top, box.right - box.left)), LEAST_AROUND)
    top, left = max(box.top - around, 0), max(box.left - around, 0)
    inside = np.s_[top : min(box.bottom + around, rows), left : min(box.right + around, columns)]
    moved = Box(box.top - top, box.bottom - top, box.left - left, box.right - left)
    return Surroundings(rgb_HW3[inside].copy(), moved, labels_HW[inside].copy())
