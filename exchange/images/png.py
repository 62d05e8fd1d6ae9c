"""PNG: the chunks are checked here, as libraries differ in what they let pass, and Pillow makes pixels of the rows."""

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from exchange.images.errors import ImageError

MAGIC = b"\x89PNG\r\n\x1a\n"
_HEADER = struct.Struct(">8sI4sIIBBBBB")
_HEADER_LENGTH = 13
_PALETTE_TYPE = 3
_CHANNELS_OF_TYPE = {0: 1, 2: 3, _PALETTE_TYPE: 1, 4: 2, 6: 4}
_MODES = {0: "L", 2: "RGB", _PALETTE_TYPE: "P", 4: "LA", 6: "RGBA"}
"""Pillow's mode of each colour type."""
_MAX_CHUNKS = 1 << 17
"""Each takes a turn of a loop in Python; the largest frames have some ten thousand."""
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""First row, first column, and the steps from row to row and column to column, of each pass of an interlaced image."""
_DAMAGED = "the PNG is damaged or truncated"


def read_size(data: bytes) -> tuple[int, int]:
    """Return rows and columns. Raises ImageError where the header is damaged or of a kind that is not supported."""
    if len(data) < _HEADER.size:
        raise ImageError("the PNG's header is truncated")
    _, length, kind, width, height, bits, color_type, compression, filters, interlacing = _HEADER.unpack_from(data)
    if kind != b"IHDR" or length != _HEADER_LENGTH:
        raise ImageError("the PNG does not begin with its header")
    if not _is_supported(bits, color_type):
        raise ImageError(
            f"the PNG has {bits} bits a channel and colour type {color_type}",
            "send 8 bits a channel (a palette may have fewer), gray, RGB or palette, with or without alpha",
        )
    if compression or filters or interlacing > 1:
        raise ImageError(f"{_DAMAGED} (its header names methods that PNG does not have)")
    return height, width


def decode(data: bytes) -> NDArray[np.uint8]:
    """Return RGB uint8 [H, W, 3], read-only. Raises ImageError where the file is truncated or damaged."""
    height, width = read_size(data)
    bits, color_type, _, _, interlacing = data[24:29]
    palette_N3, compressed = _read_chunks(data)
    rows = _inflate(compressed, _rows_bytes(height, width, bits * _CHANNELS_OF_TYPE[color_type], interlacing))
    mode = _MODES[color_type]
    raw_mode = mode if bits == 8 else f"{mode};{bits}"
    try:
        # Pillow's decoder wants a zlib stream; it gets what was checked, stored.
        image = Image.frombytes(mode, (width, height), zlib.compress(rows, 0), "zip", raw_mode, interlacing)
    except ValueError as error:
        raise ImageError(f"{_DAMAGED} ({error})") from error
    if color_type != _PALETTE_TYPE:
        return np.asarray(image.convert("RGB"))
    indices_HW = np.asarray(image)
    if indices_HW.max() >= len(palette_N3):
        raise ImageError(f"{_DAMAGED} (its pixels name colours that its palette does not have)")
    return np.asarray(palette_N3[indices_HW])


def read_exif(data: bytes) -> bytes:
    """Return the EXIF chunk, empty where there is none. Raises ImageError for a damaged file."""
    return next((bytes(content) for kind, content in _chunks(data) if kind == b"eXIf"), b"")


def _is_supported(bits: int, color_type: int) -> bool:
    return color_type in _MODES and (bits == 8 or (color_type == _PALETTE_TYPE and bits in (1, 2, 4)))


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yield each chunk's kind and content up to the end of the image. Raises ImageError where one is not whole."""
    view = memoryview(data)
    at = len(MAGIC)
    for _ in range(_MAX_CHUNKS):
        end = at + 8 + int.from_bytes(data[at : at + 4])
        if end + 4 > len(data):
            raise ImageError(_DAMAGED)
        kind = data[at + 4 : at + 8]
        if zlib.crc32(view[at + 4 : end]) != int.from_bytes(data[end : end + 4]):
            raise ImageError(f"{_DAMAGED} (wrong checksum of {kind!r})")
        yield kind, view[at + 8 : end]
        if kind == b"IEND":
            return
        at = end + 4
    raise ImageError(f"the PNG has more than {_MAX_CHUNKS} chunks", "send one of fewer and larger chunks")


def _read_chunks(data: bytes) -> tuple[NDArray[np.uint8], bytes]:
    """Return the palette, uint8 [N, 3], and the compressed rows."""
    palette_N3 = np.empty((0, 3), np.uint8)
    parts: list[memoryview] = []
    before = b""
    for number, (kind, content) in enumerate(_chunks(data)):
        if kind == b"IHDR" and number:
            raise ImageError("the PNG contradicts its own header", "send one with a single header")
        if kind == b"PLTE":
            if parts or len(palette_N3) or len(content) % 3 or not 0 < len(content) <= 3 * 256:
                raise ImageError(f"{_DAMAGED} (its palette is)")
            palette_N3 = np.frombuffer(content, np.uint8).reshape(-1, 3)
        elif kind == b"IDAT":
            if parts and before != b"IDAT":
                raise ImageError(f"{_DAMAGED} (its pixels are not in one piece)")
            parts.append(content)
        elif not kind[0] & 0x20 and kind not in (b"IHDR", b"IEND"):
            raise ImageError(f"the PNG has a critical chunk {kind!r}, which is not known", "send a plain PNG")
        before = kind
    return palette_N3, b"".join(parts)


def _inflate(compressed: bytes, rows_bytes: int) -> bytes:
    inflater = zlib.decompressobj()
    try:
        rows = inflater.decompress(compressed, rows_bytes + 1)
    except zlib.error as error:
        raise ImageError(f"{_DAMAGED} ({error})") from error
    if len(rows) > rows_bytes or inflater.unused_data:
        raise ImageError(f"{_DAMAGED} (it holds more pixels than its header says)")
    if len(rows) < rows_bytes or not inflater.eof:
        raise ImageError(f"{_DAMAGED} (it holds fewer pixels than its header says)")
    return rows


def _rows_bytes(height: int, width: int, bits_a_pixel: int, interlacing: int) -> int:
    """Return how many bytes all rows have, each with its filter's byte; a pass without pixels has none."""
    passes = _ADAM7 if interlacing else ((0, 0, 1, 1),)
    total = 0
    for first_row, first_column, row_step, column_step in passes:
        rows = len(range(first_row, height, row_step))
        columns = len(range(first_column, width, column_step))
        total += rows * (1 + -(-columns * bits_a_pixel // 8)) if columns else 0
    return total
