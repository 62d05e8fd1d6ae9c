"""A PNG taken apart once every byte of it is known to be there: chunks, checksums, and all of its rows.

Image libraries fill up what is missing, rescale samples of few bits and apply palettes; here is what the file holds.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
_CHANNELS = {GRAY: 1, RGB: 3, PALETTE: 1, GRAY_ALPHA: 2, RGBA: 4}
_DEPTHS = {GRAY: (1, 2, 4, 8, 16), RGB: (8, 16), PALETTE: (1, 2, 4, 8), GRAY_ALPHA: (8, 16), RGBA: (8, 16)}
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""Of each pass the first row and column, and the steps between rows and columns."""
_OTHER_FORMATS = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"RIFF", "WebP"),
)


class PngError(ValueError):
    """No PNG, a damaged or cut one, or one that is too large; the message says which."""


@dataclass(frozen=True)
class Header:
    width: int
    height: int
    depth: int
    """Bits of a sample."""
    color: int
    interlace: int

    def as_bytes(self) -> bytes:
        return struct.pack(">IIBBBBB", self.width, self.height, self.depth, self.color, 0, 0, self.interlace)

    @property
    def rows_bytes(self) -> int:
        """Bytes of all rows, each with its filter type."""
        if not self.interlace:
            return self._bytes_of(self.height, self.width)
        return sum(
            self._bytes_of(-(-(self.height - top) // down), -(-(self.width - left) // right))
            for top, left, down, right in _ADAM7
        )

    def _bytes_of(self, height: int, width: int) -> int:
        if height <= 0 or width <= 0:
            return 0
        return height * (1 + -(-width * self.depth * _CHANNELS[self.color] // 8))


@dataclass(frozen=True)
class WholePng:
    header: Header
    palette_E3: NDArray[np.uint8] | None
    """RGB of each entry."""
    has_transparency: bool
    """Whether there is a tRNS chunk."""
    deflated: bytes
    """The rows, as they are in the file; what they inflate to has been counted."""

    def plain(self, color: int) -> bytes:
        """The same samples as a PNG of another color type with as many bits a pixel, and nothing beside them."""
        palette = chunk(b"PLTE", bytes(3 << self.header.depth)) if color == PALETTE else b""
        return png(replace(self.header, color=color), palette, self.deflated)


def png(header: Header, palette_chunk: bytes, deflated_rows: bytes) -> bytes:
    return b"".join(
        (
            SIGNATURE,
            chunk(b"IHDR", header.as_bytes()),
            palette_chunk,
            chunk(b"IDAT", deflated_rows),
            chunk(b"IEND", b""),
        )
    )


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def take_apart(data: bytes, most_pixels: int) -> WholePng:
    """Reads header, palette and rows of a PNG; what follows its end is passed over.

    Raises:
        PngError: no PNG, a chunk is cut, damaged, unknown or out of place, pixels are missing or too many.
    """
    if not data.startswith(SIGNATURE):
        raise PngError(_no_png(data))
    chunks = _chunks(data)
    first = next(chunks)
    if first[0] != b"IHDR":
        raise PngError("not a complete PNG: its header is missing")
    header = _header(bytes(first[1]), most_pixels)
    palette: NDArray[np.uint8] | None = None
    has_transparency, before = False, b"IHDR"
    deflated: list[memoryview] = []
    for kind, body in chunks:
        if kind == b"IDAT":
            if deflated and before != b"IDAT":
                raise PngError("a damaged PNG: other chunks lie between its pixels")
            deflated.append(body)
        elif kind == b"PLTE":
            if palette is not None or deflated or not body or len(body) % 3 or len(body) > 3 * 256:
                raise PngError("a damaged PNG: its palette is not one of 1 to 256 colours before the pixels")
            palette = np.frombuffer(body, np.uint8).reshape(-1, 3)
        elif kind == b"tRNS":
            has_transparency = True
        elif kind != b"IEND" and not kind[0] & 0x20:
            raise PngError(f"a damaged PNG: a chunk {kind.decode('ascii', 'replace')!r} is not understood")
        before = kind
    if header.color == PALETTE and palette is None:
        raise PngError("a damaged PNG: its palette is missing")
    pixels = b"".join(deflated)
    _check_inflated(pixels, header.rows_bytes)
    return WholePng(header, palette, has_transparency, pixels)


def _no_png(data: bytes) -> str:
    for magic, name in _OTHER_FORMATS:
        if data.startswith(magic):
            return f"a {name}, not a complete PNG: labels are read from PNG alone"
    return "not a complete PNG: it does not begin as one"


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Kind and content of each up to the end, IEND included."""
    view, place, kind = memoryview(data), len(SIGNATURE), b""
    while kind != b"IEND":
        end = place + 12
        if end <= len(data):
            length, kind = struct.unpack_from(">I4s", data, place)
            end += length
        if end > len(data):
            raise PngError("not a complete PNG: it is cut off before its end")
        if zlib.crc32(view[place + 4 : end - 4]) != int.from_bytes(view[end - 4 : end]):
            raise PngError(f"a damaged PNG: the checksum of chunk {kind.decode('ascii', 'replace')!r} is wrong")
        yield kind, view[place + 8 : end - 4]
        place = end


def _header(body: bytes, most_pixels: int) -> Header:
    if len(body) != 13:
        raise PngError("a damaged PNG: its header is not 13 bytes long")
    width, height, depth, color, compression, filters, interlace = struct.unpack(">IIBBBBB", body)
    if not (width and height) or depth not in _DEPTHS.get(color, ()) or compression or filters or interlace > 1:
        raise PngError("a damaged PNG: its header says what no PNG is")
    if width * height > most_pixels:
        raise PngError("a PNG of more pixels than any frame has")
    return Header(width, height, depth, color, interlace)


def _check_inflated(deflated: bytes, size_bytes: int) -> None:
    stream = zlib.decompressobj()
    try:
        rows = stream.decompress(deflated, size_bytes + 1)
    except zlib.error as error:
        raise PngError(f"a damaged PNG: its pixels cannot be decompressed ({error})") from error
    if len(rows) > size_bytes:
        raise PngError("a damaged PNG: it has more pixels than its header says")
    if len(rows) < size_bytes or not stream.eof:
        raise PngError(f"not a complete PNG: it has {len(rows)} of {size_bytes} bytes of pixels")
