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
_SCANS_AT_FULL_SIZE = 16
"""Of a frame of the most pixels that are served; a smaller one may have more, for the same work."""
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER = struct.Struct(">8s4x4sIIBB")
_PNG_MODES = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}
"""Pillow's mode of each colour type."""


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
    if frame.format is ImageFormat.JPEG:
        _check_scans(frame, min(_MAX_JPEG_SCANS, _SCANS_AT_FULL_SIZE * max_pixels // (height * width)))
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
    try:
        height, width, color_space, _ = simplejpeg.decode_jpeg_header(frame.data)
    except ValueError as error:
        raise InvalidRequest(f"the JPEG's header is damaged or truncated ({error}): send a complete file") from error
    if color_space not in ("YCbCr", "RGB", "Gray"):
        raise InvalidRequest(f"the JPEG is {color_space}: send YCbCr or gray")
    return height, width


def _check_scans(frame: EncodedFrame, at_most: int) -> None:
    if frame.data.count(_JPEG_SCAN_MARKER) > at_most:
        raise InvalidRequest(f"the JPEG has more than {at_most} scans: send a baseline JPEG")


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
    if color_type not in _PNG_MODES or (bits != 8 and (bits > 8 or _PNG_MODES[color_type] != "P")):
        raise InvalidRequest(
            f"the PNG has {bits} bits a channel and colour type {color_type}: "
            "send 8 bits a channel (a palette may have fewer), gray, RGB or palette, with or without alpha"
        )
    return height, width


def _decode_png(frame: EncodedFrame) -> NDArray[np.uint8]:
    height, width = _png_size(frame)
    try:
        with Image.open(io.BytesIO(frame.data), formats=["PNG"]) as image:
            # Pillow goes by the last header of several: what is decoded must be what was checked.
            if image.size != (width, height) or image.mode not in _PNG_MODES.values():
                raise InvalidRequest("the PNG contradicts its own header: send one with a single header")
            image.info.pop("transparency", None)
            return np.asarray(image.convert("RGB"))
    except UnidentifiedImageError as error:  # its text names our buffer
        raise InvalidRequest("the PNG is damaged or truncated: send a complete file") from error
    except (OSError, SyntaxError, ValueError) as error:
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
