"""Frames from bytes: the one decoder of gateway, learner and tools, so that what one takes the others can read.

The size is read from the header first, so that nothing is decoded that should not be. A file that is not whole, or of a
kind that is not supported, is refused by name:

- JPEG: baseline or progressive Huffman coding, 8 bits, gray, YCbCr or RGB, 4:4:4, 4:2:2, 4:4:0, 4:2:0 or 4:1:1. What
  libjpeg only warns of (a cut scan, which it fills with gray) is an error, as is a scan that is missing.
- PNG: 8 bits a channel, or a palette of 1 to 8 bits; interlaced or not. Alpha is dropped. Every checksum, the order of
  the chunks and the number of bytes of the pixels must be right. Of an animation the default image is read.
- raw rgb8: exactly 3 bytes a pixel.

Bytes after the end of a JPEG or PNG are ignored, since cameras pad their frames. Pixels come as they are stored: an
EXIF orientation turns nothing (`exif_orientation` tells it to those who mind).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from exchange.images import jpeg, png
from exchange.images.errors import ImageError, kind_of

MAX_FILE_PIXELS = 1 << 27
"""No less than a gateway may be set to take: what was captured can be read."""
_ORIENTATION_TAG = 0x0112
_XMP_ORIENTATION = re.compile(rb"""tiff:Orientation(?:\s*=\s*["']|>)\s*([1-8])""")


class ImageFormat(Enum):
    JPEG = "jpeg"
    PNG = "png"
    RGB8 = "rgb8"


@dataclass(frozen=True)
class _Coder:
    magic: bytes
    read_size: Callable[[bytes], tuple[int, int]]
    decode: Callable[[bytes], NDArray[np.uint8]]
    read_exif: Callable[[bytes], bytes]


_CODERS = {
    ImageFormat.JPEG: _Coder(jpeg.MAGIC, jpeg.read_size, jpeg.decode, jpeg.read_exif),
    ImageFormat.PNG: _Coder(png.MAGIC, png.read_size, png.decode, png.read_exif),
}


def read_size(
    data: bytes, image_format: ImageFormat, max_pixels: int, declared_size_hw: tuple[int, int] = (0, 0)
) -> tuple[int, int]:
    """Return rows and columns, from the header alone.

    Args:
        declared_size_hw: only for RGB8, whose bytes cannot tell.

    Raises:
        ImageError: not the format that it is said to be, of a kind that is not supported, or too large.
    """
    if image_format is ImageFormat.RGB8:
        height, width = _rgb8_size(data, declared_size_hw)
    else:
        height, width = _checked_coder(data, image_format).read_size(data)
    if height < 1 or width < 1:
        raise ImageError(f"the frame is {width} x {height} pixels", "send one with at least one pixel")
    if height * width > max_pixels:
        raise ImageError(
            f"the frame is {width} x {height} = {width * height} pixels", f"send one of at most {max_pixels}"
        )
    if image_format is ImageFormat.JPEG:
        jpeg.check_scan_count(data, height * width, max_pixels)
    return height, width


def decode(data: bytes, image_format: ImageFormat, declared_size_hw: tuple[int, int] = (0, 0)) -> NDArray[np.uint8]:
    """Return RGB uint8 [H, W, 3], which may be read-only, of a frame whose size has been read.

    Raises:
        ImageError: truncated, damaged, or what `read_size` refuses.
    """
    if image_format is ImageFormat.RGB8:
        return np.frombuffer(data, dtype=np.uint8).reshape(*_rgb8_size(data, declared_size_hw), 3)
    return _checked_coder(data, image_format).decode(data)


def decode_file(data: bytes) -> NDArray[np.uint8]:
    """Return RGB uint8 [H, W, 3], writable, of a JPEG or PNG file's bytes; its first bytes tell which it is.

    Raises:
        ImageError: of another kind, truncated, damaged, or of more than `MAX_FILE_PIXELS`.
    """
    image_format = format_of(data)
    read_size(data, image_format, MAX_FILE_PIXELS)
    return np.require(decode(data, image_format), requirements="W")


def format_of(data: bytes) -> ImageFormat:
    """Tell a file's format by its first bytes. Raises ImageError for neither JPEG nor PNG."""
    for image_format, coder in _CODERS.items():
        if data.startswith(coder.magic):
            return image_format
    kind = kind_of(data)
    found = f"a {kind} file" if kind else f"no image file that is known: it begins with {_first_bytes(data)}"
    raise ImageError(f"it is {found}", "convert it to JPEG or PNG")


def exif_orientation(data: bytes) -> int:
    """Return a JPEG's or PNG's orientation by its EXIF, or by its XMP where that has none; 1 (upright) without any."""
    try:
        tags = _CODERS[format_of(data)].read_exif(data)
        exif = Image.Exif()
        exif.load(tags)
        orientation = exif.get(_ORIENTATION_TAG)
    except Exception:  # Pillow raises many kinds for damaged tags, which turn nothing
        return 1
    if orientation is None:
        by_xmp = _XMP_ORIENTATION.search(data)
        return int(by_xmp[1]) if by_xmp else 1
    return int(orientation) if orientation in range(1, 9) else 1


def _rgb8_size(data: bytes, declared_size_hw: tuple[int, int]) -> tuple[int, int]:
    height, width = declared_size_hw
    if len(data) != height * width * 3:
        raise ImageError(
            f"rgb8 data of {len(data)} bytes for {width} x {height} pixels",
            f"send width, height and exactly {height * width * 3} bytes",
        )
    return height, width


def _checked_coder(data: bytes, image_format: ImageFormat) -> _Coder:
    coder = _CODERS[image_format]
    if not data.startswith(coder.magic):
        raise ImageError(
            f"format is {image_format.value!r} but the data begins with {_first_bytes(data)}", "correct one of the two"
        )
    return coder


def _first_bytes(data: bytes) -> str:
    return data[:8].hex(" ") or "nothing"
