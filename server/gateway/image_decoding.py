"""Frames from bytes. The size is read from the header first, so that nothing is decoded that should not be.

simplejpeg for JPEG because it is the quickest; Pillow for PNG because it reports a truncated file, where OpenCV
returns half an image.
"""

import io
import struct

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from server.errors import InvalidRequest
from server.gateway.frames import EncodedFrame, ImageFormat

_JPEG_MAGIC = b"\xff\xd8\xff"
_JPEG_SCAN_MARKER = b"\xff\xda"
_MAX_JPEG_SCANS = 100
"""A progressive JPEG has about ten; each further one costs a pass over the image for a few bytes."""
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER = struct.Struct(">8s4x4sIIBB")
_PNG_MODES = {0: "gray", 2: "RGB", 6: "RGBA"}


def read_size(frame: EncodedFrame, max_pixels: int) -> tuple[int, int]:
    """Rows and columns, from the header alone.

    Raises:
        InvalidRequest: not the format that it is said to be, of a kind that is not served, or too large.
    """
    height, width = _READ_SIZE[frame.format](frame)
    if height < 1 or width < 1:
        raise InvalidRequest(f"the frame is {width} x {height} pixels: send one with at least one pixel")
    if height * width > max_pixels:
        raise InvalidRequest(
            f"the frame is {width} x {height} = {width * height} pixels: send one of at most {max_pixels}"
        )
    return height, width


def decode(frame: EncodedFrame) -> NDArray[np.uint8]:
    """RGB uint8 [H, W, 3] of a frame whose size has been read.

    Raises:
        InvalidRequest: truncated or damaged.
    """
    return _DECODE[frame.format](frame)


def _jpeg_size(frame: EncodedFrame) -> tuple[int, int]:
    if not frame.data.startswith(_JPEG_MAGIC):
        raise _wrong_magic(frame)
    if frame.data.count(_JPEG_SCAN_MARKER) > _MAX_JPEG_SCANS:
        raise InvalidRequest(f"the JPEG has more than {_MAX_JPEG_SCANS} scans: send a baseline JPEG")
    try:
        height, width, color_space, _ = simplejpeg.decode_jpeg_header(frame.data)
    except ValueError as error:
        raise InvalidRequest(f"the JPEG's header is damaged or truncated ({error}): send a complete file") from error
    if color_space not in ("YCbCr", "RGB", "Gray"):
        raise InvalidRequest(f"the JPEG is {color_space}: send YCbCr or gray")
    return height, width


def _decode_jpeg(frame: EncodedFrame) -> NDArray[np.uint8]:
    try:
        image_HW3: NDArray[np.uint8] = simplejpeg.decode_jpeg(frame.data, colorspace="RGB")
    except ValueError as error:
        raise InvalidRequest(f"the JPEG is damaged or truncated ({error}): send a complete file") from error
    return image_HW3


def _png_size(frame: EncodedFrame) -> tuple[int, int]:
    if not frame.data.startswith(_PNG_MAGIC):
        raise _wrong_magic(frame)
    if len(frame.data) < _PNG_HEADER.size:
        raise InvalidRequest("the PNG's header is truncated: send a complete file")
    _, kind, width, height, bits, color_type = _PNG_HEADER.unpack_from(frame.data)
    if kind != b"IHDR":
        raise InvalidRequest("the PNG does not begin with its header: send a complete file")
    if bits != 8 or color_type not in _PNG_MODES:
        raise InvalidRequest(
            f"the PNG has {bits} bits a channel and colour type {color_type}: "
            f"send 8 bits a channel, {', '.join(_PNG_MODES.values())}"
        )
    return height, width


def _decode_png(frame: EncodedFrame) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(frame.data), formats=["PNG"]) as image:
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise InvalidRequest(f"the PNG is damaged or truncated ({error}): send a complete file") from error


def _rgb8_size(frame: EncodedFrame) -> tuple[int, int]:
    height, width = frame.declared_size_hw
    if len(frame.data) != height * width * 3:
        raise InvalidRequest(
            f"rgb8 data of {len(frame.data)} bytes for {width} x {height} pixels: "
            f"send width, height and exactly {height * width * 3} bytes"
        )
    return height, width


def _decode_rgb8(frame: EncodedFrame) -> NDArray[np.uint8]:
    return np.frombuffer(frame.data, dtype=np.uint8).reshape(*frame.declared_size_hw, 3)


def _wrong_magic(frame: EncodedFrame) -> InvalidRequest:
    begins = frame.data[:8].hex(" ") or "nothing"
    return InvalidRequest(f"format is {frame.format.value!r} but the data begins with {begins}: correct one of the two")


_READ_SIZE = {ImageFormat.JPEG: _jpeg_size, ImageFormat.PNG: _png_size, ImageFormat.RGB8: _rgb8_size}
_DECODE = {ImageFormat.JPEG: _decode_jpeg, ImageFormat.PNG: _decode_png, ImageFormat.RGB8: _decode_rgb8}
