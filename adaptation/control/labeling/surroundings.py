"""A region as a person sees it: with enough of the frame around to tell what it is."""

import threading
from collections import OrderedDict
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from exchange.fleet.captured_images import decode_rgb
from exchange.fleet.frames import read_shard
from exchange.regions.tasks import Box
from exchange.storage import StorageRoot
from exchange.storage.locations import region_frame_key

AROUND = 4.0
"""Of the box's sides, to each side."""
LEAST_AROUND = 128
"""Rows and columns, where the frame has them."""
_FRAMES_KEPT = 8


class Surroundings(NamedTuple):
    rgb_HW3: NDArray[np.uint8]
    """The crop."""
    box: Box
    """The region in the crop."""
    segment_HW: NDArray[np.bool_]
    """Which pixels of the crop the click is for."""


class SurroundingsReader:
    """Keeps the last few frames decoded: one frame has several regions."""

    def __init__(self, root: StorageRoot) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, NDArray[np.uint8]] = OrderedDict()

    def read(
        self, domain: str, frame_sha256: str, version: int, box: Box, segment_HW: NDArray[np.bool_]
    ) -> Surroundings | None:
        """None where the frame was erased. Raises RecordError or StorageError.

        Args:
            segment_HW: the pixels of the box that the click is for.
        """
        key = region_frame_key(domain, frame_sha256, version)
        found = self._root.read_if_any(key)
        if found is None:
            return None
        with self._lock:
            rgb_HW3 = self._kept.get(found.etag)
        if rgb_HW3 is None:
            frame = next(iter(read_shard(found.data, key)), None)
            if frame is None:
                return None
            rgb_HW3 = decode_rgb(frame)
            with self._lock:
                self._kept[found.etag] = rgb_HW3
                while len(self._kept) > _FRAMES_KEPT:
                    self._kept.popitem(last=False)
        return _crop(rgb_HW3, box, segment_HW)


def _crop(rgb_HW3: NDArray[np.uint8], box: Box, segment_HW: NDArray[np.bool_]) -> Surroundings:
    rows, columns = rgb_HW3.shape[:2]
    around = max(int(AROUND * max(segment_HW.shape)), LEAST_AROUND)
    top, left = max(box.top - around, 0), max(box.left - around, 0)
    crop_HW3 = rgb_HW3[top : min(box.bottom + around, rows), left : min(box.right + around, columns)].copy()
    moved = Box(box.top - top, box.bottom - top, box.left - left, box.right - left)
    asked_HW = np.zeros(crop_HW3.shape[:2], np.bool_)
    asked_HW[moved.top : moved.bottom, moved.left : moved.right] = segment_HW
    return Surroundings(crop_HW3, moved, asked_HW)
