"""Label maps as bytes: palette PNG, and runs. Written by the gateway, read by clients and the learner.

Writing a PNG is done here and not by a library: run-length deflate on row differences makes label maps smaller, and
sooner, than the deflate settings that libraries offer. Reading is Pillow's.
"""

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from exchange.label_space import PALETTE_RGB

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GRAY, _PALETTE = 0, 3
_FILTER_UP = 2
_RUN = np.dtype([("label", "u1"), ("length", "<u2")])
_LONGEST_RUN = 0xFFFF


class LabelImageError(ValueError):
    """Bytes that are not a label map of the promised encoding and size; the message says what was found."""


def encode_palette_png(labels_HW: NDArray[np.uint8]) -> bytes:
    """Train ids uint8 [H, W] as an 8-bit palette PNG in the Cityscapes colours; 255 (ignored) is black."""
    palette = np.zeros((256, 3), dtype=np.uint8)
    palette[: len(PALETTE_RGB)] = PALETTE_RGB
    return _encode_png(labels_HW, _PALETTE, _chunk(b"PLTE", palette.tobytes()))


def encode_gray_png(values_HW: NDArray[np.uint8]) -> bytes:
    """uint8 [H, W] as an 8-bit gray PNG."""
    return _encode_png(values_HW, _GRAY, b"")


def _encode_png(values_HW: NDArray[np.uint8], color_type: int, palette_chunk: bytes) -> bytes:
    height, width = values_HW.shape
    rows = np.empty((height, 1 + width), dtype=np.uint8)
    rows[:, 0] = _FILTER_UP
    rows[0, 1:] = values_HW[0]
    np.subtract(values_HW[1:], values_HW[:-1], out=rows[1:, 1:])
    deflate = zlib.compressobj(1, zlib.DEFLATED, 15, 9, zlib.Z_RLE)
    header = struct.pack(">IIBBBBB", width, height, 8, color_type, 0, 0, 0)
    pixels = deflate.compress(rows.data) + deflate.flush()
    return b"".join(
        (_PNG_SIGNATURE, _chunk(b"IHDR", header), palette_chunk, _chunk(b"IDAT", pixels), _chunk(b"IEND", b""))
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def decode_index_png(data: bytes) -> NDArray[np.uint8]:
    """Reads a palette or gray PNG of 8 bits as its indices or values, uint8 [H, W].

    Raises:
        LabelImageError: not such a PNG, or a truncated one.
    """
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            if image.mode not in ("P", "L"):
                raise LabelImageError(f"a PNG of mode {image.mode}; label maps are 8-bit palette or gray PNG")
            return np.array(image)
    except UnidentifiedImageError as error:
        raise LabelImageError("not a complete PNG") from error
    except (OSError, SyntaxError) as error:
        raise LabelImageError(f"not a complete PNG: {error}") from error
    except Image.DecompressionBombError as error:
        raise LabelImageError("a PNG of more pixels than any frame has") from error


def encode_runs(labels_HW: NDArray[np.uint8]) -> bytes:
    """uint8 [H, W] as runs in row order, 3 bytes each: the value, then the length as unsigned 16-bit little-endian.

    A run may go on from one row to the next; one longer than 65,535 pixels is split.
    """
    flat = labels_HW.ravel()
    starts = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]) + 1))
    lengths = np.diff(starts, append=flat.size)
    pieces = -(-lengths // _LONGEST_RUN)
    runs = np.empty(int(pieces.sum()), dtype=_RUN)
    runs["label"] = np.repeat(flat[starts], pieces)
    runs["length"] = _LONGEST_RUN
    runs["length"][np.cumsum(pieces) - 1] = lengths - (pieces - 1) * _LONGEST_RUN
    return runs.tobytes()


def decode_runs(data: bytes, size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """The reverse of `encode_runs`, uint8 [H, W].

    Raises:
        LabelImageError: the runs do not add up to the size.
    """
    if len(data) % _RUN.itemsize:
        raise LabelImageError(f"{len(data)} bytes are not a whole number of {_RUN.itemsize}-byte runs")
    runs = np.frombuffer(data, dtype=_RUN)
    covered = int(runs["length"].sum(dtype=np.int64))
    if covered != size_hw[0] * size_hw[1]:
        raise LabelImageError(f"runs of {covered} pixels for a map of {size_hw[0]} x {size_hw[1]}")
    return np.repeat(runs["label"], runs["length"]).reshape(size_hw)
