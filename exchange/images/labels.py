"""The one reader and writer of label files: PNG of ids, gray or with a palette, and runs.

Writing a PNG is done here and not by a library: run-length deflate on row differences makes label maps smaller, and
sooner, than the deflate settings that libraries offer. What a sample means is decided here.
"""

import zlib
from types import MappingProxyType
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from exchange.images.errors import ImageError, kind_of
from exchange.images.whole_png import (
    GRAY,
    GRAY_ALPHA,
    MAGIC,
    PALETTE,
    RGB,
    RGBA,
    Header,
    WholePng,
    chunk,
    damaged,
    png_file,
    read_header,
    take_apart,
)
from exchange.label_space import CITYSCAPES_ID_TO_TRAIN_ID, IGNORE_ID, NUM_CLASSES, PALETTE_RGB

_FILTER_UP = 2
_RUN = np.dtype([("label", "u1"), ("length", "<u2")])
_LONGEST_RUN = 0xFFFF
_MOST_PIXELS = 1 << 26
_MODES = {RGB: "RGB", RGBA: "RGBA", GRAY_ALPHA: "gray and alpha"}
_REMEDY = "give a PNG of ids, 8-bit gray"

ColorPalette = Literal["train", "cityscapes", "none"]
"""Palettes of colours whose indices are ids: our own of train ids, that of Cityscapes labelIds (as GTA5 has), or none.

A palette of grays is read by its colours in each case.
"""


class LabelImageError(ValueError):
    """Bytes that are not a label map of the promised encoding and size; the message says what was found."""


def _own_palette() -> NDArray[np.uint8]:
    palette_E3 = np.zeros((256, 3), dtype=np.uint8)
    palette_E3[:NUM_CLASSES] = PALETTE_RGB
    return palette_E3


_OWN_PALETTE_E3 = _own_palette()
_CLASS_OF_COLOR = MappingProxyType({tuple(color): k for k, color in enumerate(PALETTE_RGB.tolist())})
_COLORED_LIKE = MappingProxyType(dict(CITYSCAPES_ID_TO_TRAIN_ID) | {18: 5, 34: 13, IGNORE_ID: 13})
"""The train id whose colour a Cityscapes labelId has: groups of poles and licence plates have a class's, too."""


def encode_palette_png(labels_HW: NDArray[np.uint8]) -> bytes:
    """Train ids uint8 [H, W] as an 8-bit palette PNG in the Cityscapes colours; 255 (ignored) is black."""
    return _encode_png(labels_HW, PALETTE, chunk(b"PLTE", _OWN_PALETTE_E3.tobytes()))


def encode_gray_png(values_HW: NDArray[np.uint8]) -> bytes:
    """uint8 [H, W] as an 8-bit gray PNG."""
    return _encode_png(values_HW, GRAY, b"")


def _encode_png(values_HW: NDArray[np.uint8], color_type: int, palette_chunk: bytes) -> bytes:
    height, width = values_HW.shape
    rows = np.empty((height, 1 + width), dtype=np.uint8)
    rows[:, 0] = _FILTER_UP
    rows[0, 1:] = values_HW[0]
    np.subtract(values_HW[1:], values_HW[:-1], out=rows[1:, 1:])
    deflate = zlib.compressobj(1, zlib.DEFLATED, 15, 9, zlib.Z_RLE)
    header, deflated_rows = Header(width, height, 8, color_type), deflate.compress(rows.data) + deflate.flush()
    return png_file(header, palette_chunk, deflated_rows)


def decode_index_png(data: bytes, colors: ColorPalette = "train") -> NDArray[np.uint8]:
    """Reads a label file as ids, uint8 [H, W]: the values of a gray PNG, the colours or indices of a palette PNG.

    A palette of grays, as lossless optimisers leave it, holds ids as colours. Of other palettes those that `colors`
    names hold ids as indices. What could be read in two ways that tell different ids is refused: so are
    our own colours at other places, where an optimiser left grays of them alone.

    Raises:
        LabelImageError: not such a PNG, one that is not whole, or one that leaves open which ids it holds.
    """
    whole = _taken_apart(data)
    header = whole.header
    if mode := _MODES.get(header.color):
        raise LabelImageError(f"a PNG of mode {mode} holds colours, not ids: {_REMEDY}")
    if whole.has_transparency:
        raise LabelImageError(f"a PNG with transparent ids: {_REMEDY}, without transparency (tRNS)")
    if header.depth == 16:
        return _narrowed(_samples_16bit(whole))
    samples_HW = _samples(whole)
    if header.color == PALETTE:
        return _by_palette(samples_HW, whole, colors)
    if header.depth < 8 and samples_HW.any():
        raise LabelImageError(
            f"a gray PNG of {header.depth} bits a pixel, whose values are ids to some programs and shades from 0 to 255"
            f" to others: {_REMEDY}"
        )
    return samples_HW


def decode_rgb16_png(data: bytes) -> NDArray[np.uint16]:
    """Reads a PNG of 16-bit RGB, in which SYNTHIA keeps ids, uint16 [H, W, 3].

    Raises:
        LabelImageError: not such a PNG, or one that is not whole.
    """
    whole = _taken_apart(data)
    if (whole.header.color, whole.header.depth) != (RGB, 16) or whole.has_transparency:
        raise LabelImageError("no 16-bit RGB PNG, as GT/LABELS of SYNTHIA holds")
    return _samples_16bit(whole)[..., ::-1]


def _taken_apart(data: bytes) -> WholePng:
    if not data.startswith(MAGIC):
        raise LabelImageError(f"a {kind_of(data) or 'file'} that is no PNG: labels are read from PNG alone")
    try:
        header = read_header(data)
        if not 0 < header.width * header.height <= _MOST_PIXELS:
            raise LabelImageError(f"a PNG of {header.width} x {header.height} pixels: 1 to {_MOST_PIXELS} are read")
        return take_apart(data)
    except ImageError as error:
        raise LabelImageError(error.problem) from error


def _samples(whole: WholePng) -> NDArray[np.uint8]:
    try:
        return whole.samples().copy()
    except ImageError as error:
        raise LabelImageError(error.problem) from error


def _samples_16bit(whole: WholePng) -> NDArray[np.uint16]:
    """Gray as [H, W], RGB as BGR [H, W, 3]."""
    stored = cv2.imdecode(np.frombuffer(whole.as_file(), np.uint8), cv2.IMREAD_UNCHANGED)
    if stored is None or stored.dtype != np.uint16:
        raise LabelImageError(damaged("its rows cannot be decoded").problem)
    return stored.astype(np.uint16, copy=False)


def _narrowed(values_HW: NDArray[np.uint16]) -> NDArray[np.uint8]:
    largest = int(values_HW.max())
    if largest > np.iinfo(np.uint8).max:
        raise LabelImageError(f"a 16-bit gray PNG that holds {largest}, where ids go up to 255: {_REMEDY}")
    return values_HW.astype(np.uint8)


def _by_palette(indices_HW: NDArray[np.uint8], whole: WholePng, colors: ColorPalette) -> NDArray[np.uint8]:
    palette_E3 = whole.palette_E3
    is_own = colors == "train" and np.array_equal(palette_E3, _OWN_PALETTE_E3[: len(palette_E3)])
    if is_own and len(palette_E3) == len(_OWN_PALETTE_E3):
        return indices_HW
    is_used = np.zeros(256, dtype=bool)
    is_used[indices_HW] = True
    used = np.flatnonzero(is_used)
    if used[-1] >= len(palette_E3):
        what = f"index {used[-1]} has no colour in its palette of {len(palette_E3)}"
        raise LabelImageError(damaged(what).problem)
    is_gray = _is_gray(palette_E3[used])
    if is_own or (colors == "cityscapes" and not _is_gray(palette_E3)):
        is_gray = False  # a palette of class colours, of which this frame uses gray ones: buildings and poles
    is_index = is_own or _indices_are_ids(used, palette_E3, colors)
    if not (is_gray or is_index):
        raise LabelImageError(
            f"a PNG whose palette shows neither grays nor, index by index, the colours of its ids: {_REMEDY}"
        )
    if not is_gray:
        return indices_HW
    if colors == "train" and not is_index and _are_own_grays(palette_E3[used]):
        raise LabelImageError(
            "a PNG whose palette shows only grays that our own palette has, too (black is ignored, there, and 0, road,"
            f" as a gray), and both may be meant: {_REMEDY}"
        )
    if is_index and (palette_E3[used, 0] != used).any():
        raise LabelImageError(f"a PNG whose palette tells other ids than its indices, and both may be meant: {_REMEDY}")
    gray_256 = np.zeros(256, dtype=np.uint8)
    gray_256[: len(palette_E3)] = palette_E3[:, 0]
    return np.take(gray_256, indices_HW)


def _is_gray(palette_E3: NDArray[np.uint8]) -> bool:
    return bool((palette_E3 == palette_E3[:, :1]).all())


def _are_own_grays(shown: NDArray[np.uint8]) -> bool:
    """Whether a file of our own colours may look so when what it does not use is cut out of its palette."""
    return all(color == (0, 0, 0) or color in _CLASS_OF_COLOR for color in map(tuple, shown.tolist()))


def _indices_are_ids(used: NDArray[np.intp], palette_E3: NDArray[np.uint8], colors: ColorPalette) -> bool:
    shown = palette_E3[used]
    if colors == "train":
        known = (used < NUM_CLASSES) | (used == IGNORE_ID)
        return bool(known.all() and (shown == _OWN_PALETTE_E3[used]).all())
    if colors == "none" or _is_gray(palette_E3):
        return False
    # Publishers draw ignored ids in different colours; the colour of a class at the place of another id is wrong.
    classes = (_CLASS_OF_COLOR.get(tuple(color)) for color in shown.tolist())
    return all(k is None or k == _COLORED_LIKE.get(int(index)) for index, k in zip(used, classes, strict=True))


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
