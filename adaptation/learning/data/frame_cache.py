"""Decoded frames kept in memory up to a bound, because decoding costs more than a whole augmentation."""

import threading

import numpy as np
from numpy.typing import NDArray

from adaptation.learning.data.labelled_frames import LabelledFrame, read_frame


class FrameCache:
    """Reads frames and keeps the first that fit into `limit_bytes`; safe to share between threads.

    Frames are drawn at random, so keeping a fixed part serves as well as evicting the oldest, and moves no memory.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._free_bytes = limit_bytes
        self._kept: dict[LabelledFrame, tuple[NDArray[np.uint8], NDArray[np.uint8]]] = {}
        self._lock = threading.Lock()

    def read(self, frame: LabelledFrame) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """RGB uint8 [H, W, 3] and train ids uint8 [H, W], not to be written to. Raises DataError as `read_frame`."""
        if (kept := self._kept.get(frame)) is not None:
            return kept
        image, labels = read_frame(frame)
        size_bytes = image.nbytes + labels.nbytes
        with self._lock:
            if frame not in self._kept and size_bytes <= self._free_bytes:
                self._kept[frame] = (image, labels)
                self._free_bytes -= size_bytes
        return image, labels
