"""Captured frames' bytes as pixels, and back."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from exchange.fleet.frames import FORMAT_OF_EXTENSION, CapturedFrame
from exchange.images.errors import ImageError
from exchange.images.frames import MAX_FILE_PIXELS, decode, exif_orientation, read_size
from exchange.storage.records import RecordError


def decode_rgb(frame: CapturedFrame) -> NDArray[np.uint8]:
    """A captured frame's pixels as they are stored, uint8 [H, W, 3]. Raises RecordError where they cannot be read."""
    metadata = frame.metadata
    image_format = FORMAT_OF_EXTENSION[metadata.image]
    try:
        size_hw = read_size(frame.image, image_format, MAX_FILE_PIXELS, metadata.size_hw)
        rgb_HW3 = decode(frame.image, image_format, metadata.size_hw)
    except ImageError as error:
        raise RecordError(f"{metadata.key} cannot be read as an image: {error.problem}") from error
    if size_hw != metadata.size_hw:
        raise RecordError(f"{metadata.key} is an image of {size_hw} where {metadata.size_hw} belongs")
    return np.require(rgb_HW3, requirements="W")  # torch wants to write


def encode_rgb_png(rgb_HW3: NDArray[np.uint8]) -> bytes:
    written, png = cv2.imencode(".png", cv2.cvtColor(rgb_HW3, cv2.COLOR_RGB2BGR))
    if not written:
        raise RecordError(f"an image of {rgb_HW3.shape} cannot be written as PNG")
    return png.tobytes()


def write_image(frame: CapturedFrame, folder: Path, name: str) -> Path:
    """Writes the frame's image and returns its path.

    It is written as it came; raw rows as PNG, and so is what an EXIF orientation would turn: pixels count as they are
    stored, and files in folders must not be turned.
    """
    as_png = frame.metadata.image == "rgb" or exif_orientation(frame.image) != 1
    path = folder / f"{name}.{'png' if as_png else frame.metadata.image}"
    path.write_bytes(encode_rgb_png(decode_rgb(frame)) if as_png else frame.image)
    return path
