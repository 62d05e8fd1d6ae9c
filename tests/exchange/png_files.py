"""PNG files of every color type, depth and interlacing, written sample by sample, and spoiled ones."""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from exchange.images.whole_png import GRAY, MAGIC, PALETTE, chunk

_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def png_of(
    samples: NDArray[np.integer],
    color: int,
    depth: int,
    *,
    palette: list[tuple[int, int, int]] | None = None,
    interlaced: bool = False,
    extra: bytes = b"",
    rows: bytes | None = None,
) -> bytes:
    """Samples [H, W] or [H, W, channels], unfiltered; `extra` are chunks that lie before the pixels."""
    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, int(interlaced))
    if rows is None:
        passes = [samples[top::down, left::right] for top, left, down, right in _ADAM7] if interlaced else [samples]
        rows = b"".join(_rows(part, depth) for part in passes if part.size)
    colors = b"" if palette is None else chunk(b"PLTE", np.array(palette, np.uint8).tobytes())
    return b"".join(
        (MAGIC, chunk(b"IHDR", header), colors, extra, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    )


def _rows(samples: NDArray[np.integer], depth: int) -> bytes:
    flat = samples.reshape(len(samples), -1)
    if depth == 16:
        packed = flat.astype(">u2").view(np.uint8)
    else:
        bits = np.unpackbits(flat.astype(np.uint8)[..., None], axis=-1)[..., 8 - depth :]
        packed = np.packbits(bits.reshape(len(flat), -1), axis=1)
    return b"".join(b"\0" + row.tobytes() for row in packed)


def gray_png(values: NDArray[np.integer], depth: int = 8, *, interlaced: bool = False) -> bytes:
    return png_of(values, GRAY, depth, interlaced=interlaced)


def optimised_png(values: NDArray[np.uint8], *, interlaced: bool = False) -> bytes:
    """The same shades by a palette as short as can be, in the fewest bits, as optimisers leave a gray PNG."""
    used = np.unique(values)[::-1]
    place = np.zeros(256, np.uint8)
    place[used] = range(len(used))
    depth = next(bits for bits in (1, 2, 4, 8) if len(used) <= 1 << bits)
    return png_of(place[values], PALETTE, depth, palette=[(k, k, k) for k in used.tolist()], interlaced=interlaced)
