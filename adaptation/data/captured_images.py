"""Captured frames' bytes as pixels, and back."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from exchange.frames import CapturedFrame
from exchange.records import RecordError


def decode_rgb(frame: CapturedFrame) -> NDArray[np.uint8]:
    """A captured frame's pixels, uint8 [H, W, 3]. Raises RecordError where they cannot be read."""
    metadata = frame.metadata
    rows, columns = metadata.size_hw
    if metadata.image == "rgb":
        if len(frame.image) != 3 * rows * columns:
            raise RecordError(f"{metadata.key} holds {len(frame.image)} bytes of pixels where {rows}x{columns} belong")
        return np.frombuffer(frame.image, np.uint8).reshape(rows, columns, 3).copy()  # torch wants to write
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    bgr_HW3 = cv2.imdecode(np.frombuffer(frame.image, np.uint8), flags) if frame.image else None
    if bgr_HW3 is None or bgr_HW3.shape[:2] != (rows, columns):
        raise RecordError(f"{metadata.key} is no image of {rows}x{columns}")
    return np.asarray(cv2.cvtColor(bgr_HW3, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def encode_rgb_png(rgb_HW3: NDArray[np.uint8]) -> bytes:
    written, png = cv2.imencode(".png", cv2.cvtColor(rgb_HW3, cv2.COLOR_RGB2BGR))
    if not written:
        raise RecordError(f"an image of {rgb_HW3.shape} cannot be written as PNG")
    return png.tobytes()


def write_image(frame: CapturedFrame, folder: Path, name: str) -> Path:
    """Writes the frame's image as it came, raw rows as PNG, and returns its path."""
    is_raw = frame.metadata.image == "rgb"
    path = folder / f"{name}.{'png' if is_raw else frame.metadata.image}"
    path.write_bytes(encode_rgb_png(decode_rgb(frame)) if is_raw else frame.image)
    return path
