"""PNG files taken apart once every byte is known to be there: chunks, checksums and all of the rows.

Image libraries fill up what is missing, rescale samples of few bits and apply palettes. Here the file is checked,
and its samples come as they are stored; Pillow only undoes the row filters.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from exchange.images.errors import ImageError

MAGIC = b"\x89PNG\r\n\x1a\n"
GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
_CHANNELS = {GRAY: 1, RGB: 3, PALETTE: 1, GRAY_ALPHA: 2, RGBA: 4}
_DEPTHS = {GRAY: (1, 2, 4, 8, 16), RGB: (8, 16), PALETTE: (1, 2, 4, 8), GRAY_ALPHA: (8, 16), RGBA: (8, 16)}
_MODES = {GRAY: "L", RGB: "RGB", PALETTE: "P", GRAY_ALPHA: "LA", RGBA: "RGBA"}
"""Pillow's mode of each colour type with 8 bits a channel."""
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""First row, first column, and the steps from row to row and column to column, of each pass of an interlaced image."""
_MAX_CHUNKS = 1 << 17
"""Each takes a turn of a loop in Python; the largest frames have some ten thousand."""
_TEXTS, _RAW_EXIF = (b"tEXt", b"zTXt"), b"Raw profile type exif\0"
_MOST_TEXT_BYTES = 1 << 18
_HEADER = struct.Struct(">IIBBBBB")
_FIRST_CHUNK = struct.Struct(f">8sI4s{_HEADER.size}s")


@dataclass(frozen=True)
class Header:
    """Contents of IHDR."""

    width: int
    height: int
    depth: int
    """Bits of a sample."""
    color: int
    """Colour type."""
    interlace: int = 0

    def as_bytes(self) -> bytes:
        return _HEADER.pack(self.width, self.height, self.depth, self.color, 0, 0, self.interlace)

    @property
    def rows_bytes(self) -> int:
        """Bytes of all rows, each with its filter's byte; a pass without pixels has none."""
        total = 0
        for first_row, first_column, row_step, column_step in _ADAM7 if self.interlace else ((0, 0, 1, 1),):
            rows = len(range(first_row, self.height, row_step))
            columns = len(range(first_column, self.width, column_step))
            total += rows * (1 + -(-columns * self.depth * _CHANNELS[self.color] // 8)) if columns else 0
        return total


@dataclass(frozen=True)
class WholePng:
    """A checked file."""

    header: Header
    palette_E3: NDArray[np.uint8]
    """RGB of each entry; no entries where there is no palette."""
    has_transparency: bool
    """Whether there is a tRNS chunk."""
    exif: bytes
    """Contents of eXIf, or of the text chunk that ImageMagick wrote before there was one; empty where neither is."""
    rows: bytes
    """Filtered rows, `header.rows_bytes` of them."""

    def samples(self) -> NDArray[np.uint8]:
        """Return what is stored, neither scaled nor coloured, uint8 [H, W] or [H, W, channels]; for at most 8 bits.

        Raises:
            ImageError: a row has a filter that PNG does not have.
        """
        header = self.header
        mode, raw_mode = _MODES[header.color], _MODES[header.color]
        if header.depth < 8:
            mode, raw_mode = "P", f"P;{header.depth}"  # unlike gray of few bits, indices are not scaled
        # Pillow's decoder wants a zlib stream: it gets the checked rows, stored.
        stream, size = zlib.compress(self.rows, 0), (header.width, header.height)
        try:
            return np.asarray(Image.frombytes(mode, size, stream, "zip", raw_mode, header.interlace))
        except ValueError as error:
            raise damaged(str(error)) from error

    def as_file(self) -> bytes:
        """Return header and pixels as a PNG without any other chunk."""
        return png_file(self.header, b"", zlib.compress(self.rows, 0))


def damaged(what: str) -> ImageError:
    """Return the error of a PNG that is damaged or truncated, with what is wrong with it."""
    return ImageError(f"the PNG is damaged or truncated ({what})")


def png_file(header: Header, palette_chunk: bytes, deflated_rows: bytes) -> bytes:
    """Return a PNG's bytes."""
    first, pixels, end = chunk(b"IHDR", header.as_bytes()), chunk(b"IDAT", deflated_rows), chunk(b"IEND", b"")
    return b"".join((MAGIC, first, palette_chunk, pixels, end))


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk's bytes: length, kind, data and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def read_header(data: bytes) -> Header:
    """Return the header of a file that begins with `MAGIC`.

    Raises:
        ImageError: cut off, or no header of PNG.
    """
    if len(data) < _FIRST_CHUNK.size:
        raise ImageError("the PNG's header is truncated")
    _, length, kind, content = _FIRST_CHUNK.unpack_from(data)
    if kind != b"IHDR" or length != _HEADER.size:
        raise ImageError("the PNG does not begin with its header")
    width, height, depth, color, compression, filters, interlace = _HEADER.unpack(content)
    if depth not in _DEPTHS.get(color, ()):
        raise ImageError(f"the PNG has {depth} bits a channel and colour type {color}, which do not go together")
    if compression or filters or interlace > 1:
        raise damaged("its header names methods that PNG does not have")
    return Header(width, height, depth, color, interlace)


def take_apart(data: bytes) -> WholePng:
    """Return all of a file that begins with `MAGIC` and whose size was looked at; bytes after its end are ignored.

    Raises:
        ImageError: a chunk is cut, damaged, unknown or out of place, or pixels are missing or too many.
    """
    header = read_header(data)
    palette_E3 = np.empty((0, 3), np.uint8)
    parts: list[memoryview] = []
    has_transparency, exif, before = False, b"", b""
    for number, (kind, content) in enumerate(_chunks(data)):
        if kind == b"IHDR":
            if number:
                raise ImageError("the PNG contradicts its own header", "send one with a single header")
        elif kind == b"IDAT":
            if parts and before != b"IDAT":
                raise damaged("other chunks lie between its pixels")
            parts.append(content)
        elif kind == b"PLTE":
            if parts or len(palette_E3) or len(content) % 3 or not 0 < len(content) <= 3 * 256:
                raise damaged("its palette is not one of 1 to 256 colours before the pixels")
            palette_E3 = np.frombuffer(content, np.uint8).reshape(-1, 3)
        elif kind == b"tRNS":
            has_transparency = True
        elif kind == b"eXIf":
            exif = bytes(content)
        elif kind in _TEXTS and content[: len(_RAW_EXIF)] == _RAW_EXIF:
            exif = exif or _raw_exif(kind, bytes(content[len(_RAW_EXIF) :]))
        elif kind != b"IEND" and not kind[0] & 0x20:
            raise ImageError(f"the PNG has a critical chunk {_name(kind)}, which is not known", "send a plain PNG")
        before = kind
    if header.color == PALETTE and not len(palette_E3):
        raise damaged("its palette is missing")
    return WholePng(header, palette_E3, has_transparency, exif, _inflate(b"".join(parts), header.rows_bytes))


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yield kind and content of each chunk up to the end of the image."""
    view, at = memoryview(data), len(MAGIC)
    for _ in range(_MAX_CHUNKS):
        end = at + 8 + int.from_bytes(data[at : at + 4])
        if end + 4 > len(data):
            raise damaged("it is cut off before its end")
        kind = data[at + 4 : at + 8]
        if zlib.crc32(view[at + 4 : end]) != int.from_bytes(data[end : end + 4]):
            raise damaged(f"the checksum of {_name(kind)} is wrong")
        yield kind, view[at + 8 : end]
        if kind == b"IEND":
            return
        at = end + 4
    raise ImageError(f"the PNG has more than {_MAX_CHUNKS} chunks", "send one of fewer and larger chunks")


def _raw_exif(kind: bytes, text: bytes) -> bytes:
    """Return what a text of a name, a length and hexadecimal digits holds; nothing where it is no such text."""
    try:
        if kind == b"zTXt":  # after a byte that names the one method
            text = zlib.decompressobj().decompress(text[1:], _MOST_TEXT_BYTES)
        return bytes.fromhex(b"".join(text.split()[2:]).decode("ascii"))
    except (zlib.error, ValueError):
        return b""


def _name(kind: bytes) -> str:
    return ascii(kind.decode("latin-1"))


def _inflate(deflated: bytes, rows_bytes: int) -> bytes:
    stream = zlib.decompressobj()
    try:
        rows = stream.decompress(deflated, rows_bytes + 1)
    except zlib.error as error:
        raise damaged(f"its pixels cannot be decompressed: {error}") from error
    if len(rows) > rows_bytes or stream.unused_data:
        raise damaged("it has more pixels than its header says")
    if len(rows) < rows_bytes or not stream.eof:
        raise damaged(f"it has {len(rows)} of {rows_bytes} bytes of pixels")
    return rows
