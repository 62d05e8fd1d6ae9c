"""Frames, labels and confidence as images that lie over each other in a browser."""

import io
from functools import cache

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from adaptation.control.labeling.surroundings import Surroundings
from exchange.fleet.captured_images import decode_rgb
from exchange.fleet.frames import CapturedFrame
from exchange.images.labels import decode_index_png
from exchange.label_space import IGNORE_ID, NUM_CLASSES, PALETTE_RGB

WIDEST_PX = 2048
_JPEG_QUALITY = 82
_DOUBT_RGB = (255, 64, 160)
_DIM = 0.15
_BRIGHT = 230.0
_MOST_STRETCH = 3.0


def frame_jpeg(frame: CapturedFrame, width: int) -> bytes:
    """At most `width` pixels wide. Raises RecordError where the frame cannot be read."""
    return rgb_jpeg(_narrowed(decode_rgb(frame), width, cv2.INTER_AREA))


def rgb_jpeg(rgb_HW3: NDArray[np.uint8]) -> bytes:
    return simplejpeg.encode_jpeg(np.ascontiguousarray(rgb_HW3), quality=_JPEG_QUALITY)


def label_overlay(labels_png: bytes, width: int, only: int | None = None) -> bytes:
    """Train ids in the Cityscapes colours, or one of them alone; all else is transparent.

    Raises:
        LabelImageError: no label map.
    """
    labels_HW = _narrowed(decode_index_png(labels_png), width, cv2.INTER_NEAREST_EXACT)
    shown = np.zeros(256, np.uint8)
    shown[:NUM_CLASSES] = 255
    if only is not None:
        shown[:] = 0
        shown[only] = 255
    shown[IGNORE_ID] = 0
    return _indexed_png(labels_HW, _palette(), shown.tobytes())


def doubt_overlay(confidence_png: bytes, width: int) -> bytes:
    """The less confident a pixel is, the more of one colour it gets.

    Raises:
        LabelImageError: no confidence map.
    """
    confidence_HW = _narrowed(decode_index_png(confidence_png), width, cv2.INTER_AREA)
    alpha = np.clip(np.round(1.4 * (255 - np.arange(256))), 0, 255).astype(np.uint8)
    return _indexed_png(confidence_HW, bytes(_DOUBT_RGB) * 256, alpha.tobytes())


def region_picture(seen: Surroundings, width: int) -> NDArray[np.uint8]:
    """The crop enlarged, its surroundings dimmed, what is asked about outlined, uint8 [H, W, 3]."""
    rows, columns = seen.rgb_HW3.shape[:2]
    scale = width / columns
    size = (width, max(1, round(rows * scale)))
    large = cv2.resize(
        _bright_enough(seen.rgb_HW3), size, interpolation=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    )
    segment = cv2.resize(seen.segment_HW.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT)
    large[segment == 0] = (large[segment == 0] * (1 - _DIM)).astype(np.uint8)
    outlines, _ = cv2.findContours(segment, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(large, outlines, -1, (0, 0, 0), 4)
    cv2.drawContours(large, outlines, -1, (255, 255, 255), 2)
    return np.asarray(large, dtype=np.uint8)


def _bright_enough(rgb_HW3: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A crop of dusk or night is nearly black on a screen, though a person could tell what is in it. At most
    `_MOST_STRETCH` times brighter, as beyond that there is more noise to see than street."""
    brightest = float(np.percentile(cv2.cvtColor(rgb_HW3, cv2.COLOR_RGB2GRAY), 99))
    stretch = min(_BRIGHT / max(brightest, 1.0), _MOST_STRETCH)
    return rgb_HW3 if stretch <= 1 else np.asarray(cv2.convertScaleAbs(rgb_HW3, alpha=stretch), dtype=np.uint8)


def _narrowed(image: NDArray[np.uint8], width: int, how: int) -> NDArray[np.uint8]:
    rows, columns = image.shape[:2]
    if columns <= width:
        return image
    size = (width, max(1, round(rows * width / columns)))
    return np.asarray(cv2.resize(image, size, interpolation=how), dtype=np.uint8)


@cache
def _palette() -> bytes:
    palette = np.zeros((256, 3), np.uint8)
    palette[:NUM_CLASSES] = PALETTE_RGB
    return palette.tobytes()


def _indexed_png(index_HW: NDArray[np.uint8], palette: bytes, alpha: bytes) -> bytes:
    rows, columns = index_HW.shape
    image = Image.frombytes("P", (columns, rows), index_HW.tobytes())
    image.putpalette(palette)
    file = io.BytesIO()
    image.save(file, "PNG", transparency=alpha, compress_level=1)
    return file.getvalue()
