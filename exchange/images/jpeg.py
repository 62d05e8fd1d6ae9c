"""JPEG through simplejpeg, the quickest decoder, which turns libjpeg's warnings of damage into errors.

What libjpeg reads without a warning and should not is found in the markers: scans that are missing, and coding that it
fills up silently.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from exchange.images.errors import ImageError

MAGIC = b"\xff\xd8\xff"
_SCAN_MARKER = b"\xff\xda"
_MAX_SCANS = 100
"""A progressive JPEG has about ten; each further one costs a pass over the image for a few bytes."""
_SCANS_AT_FULL_SIZE = 16
"""Of a frame of the most pixels that are taken; a smaller one may have more, for the same work."""
_MAX_SEGMENTS = 4096
"""Each takes a turn of a loop in Python; a large colour profile takes a few dozen."""
_MARKER = re.compile(rb"\xff+([^\x00\xff])")
_MARKER_AFTER_SCAN = re.compile(rb"\xff(?![\x00\xff\xd0-\xd7])")
_EOI, _SOS, _APP1 = 0xD9, 0xDA, 0xE1
_PROGRESSIVE = 0xC2
_FRAME_HEADERS = {
    0xC0: "", 0xC1: "", _PROGRESSIVE: "", 0xC3: "lossless", 0xC5: "hierarchical", 0xC6: "hierarchical",
    0xC7: "hierarchical", 0xC9: "arithmetic-coded", 0xCA: "arithmetic-coded", 0xCB: "lossless",
    0xCD: "hierarchical", 0xCE: "hierarchical", 0xCF: "hierarchical",
}  # fmt: skip
"""Markers of frame headers (T.81, table B.1), with the name of what is not supported."""
_COEFFICIENTS = 64


@dataclass(frozen=True)
class _Header:
    size_hw: tuple[int, int]
    samplings: tuple[tuple[int, int], ...]
    component_ids: bytes
    is_in_one_scan: bool
    """The first scan holds everything, and libjpeg looks for no other."""


def read_size(data: bytes) -> tuple[int, int]:
    """Return rows and columns. Raises ImageError where the header is damaged or of a kind that is not supported."""
    header = _read_header(data)
    try:
        height, width, color_space, _ = simplejpeg.decode_jpeg_header(data)
    except (ValueError, KeyError) as error:  # KeyError: a layout that libjpeg-turbo knows and simplejpeg does not
        if isinstance(error, KeyError) or "subsampling" in str(error):
            layout = ", ".join(f"{across}x{down}" for across, down in header.samplings)
            raise ImageError(
                f"the JPEG's chroma layout is {layout}", "send 4:4:4, 4:2:2, 4:4:0, 4:2:0, 4:1:1 or gray"
            ) from error
        raise ImageError(f"the JPEG's header is damaged or truncated ({error})") from error
    if color_space not in ("YCbCr", "RGB", "Gray"):
        raise ImageError(f"the JPEG is {color_space}", "send YCbCr or gray")
    if (height, width) != header.size_hw:
        raise ImageError("the JPEG's header is damaged: it gives two sizes")
    return height, width


def check_scan_count(data: bytes, pixels: int, max_pixels: int) -> None:
    """Raise ImageError where decoding would take far longer than that of the largest frame in one scan."""
    at_most = min(_MAX_SCANS, _SCANS_AT_FULL_SIZE * max_pixels // pixels)
    if data.count(_SCAN_MARKER) > at_most:
        raise ImageError(f"the JPEG has more than {at_most} scans", "send a baseline JPEG")


def decode(data: bytes) -> NDArray[np.uint8]:
    """Return RGB uint8 [H, W, 3]. Raises ImageError where the file is truncated, damaged or lacks a scan."""
    header = _read_header(data)
    if not header.is_in_one_scan:
        _check_all_scans(data, header)
    try:
        image_HW3: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, colorspace="RGB")
    except ValueError as error:
        raise ImageError(f"the JPEG is damaged or truncated ({error})") from error
    return image_HW3


def read_exif(data: bytes) -> bytes:
    """Return the first EXIF segment, empty where there is none. Raises ImageError for a damaged header."""
    for marker, start, end in _segments(data):
        if marker == _SOS:
            break
        if marker == _APP1 and data.startswith(b"Exif\0\0", start):
            return data[start:end]
    return b""


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield each segment's marker and where its content begins and ends, up to the end of the image."""
    at = 2
    for _ in range(_MAX_SEGMENTS):
        found = _MARKER.match(data, at)
        if found is None:
            raise ImageError("the JPEG's header is damaged or truncated")
        marker, start = found[1][0], found.end() + 2
        if marker == _EOI:
            return
        end = found.end() + int.from_bytes(data[found.end() : start])
        if not start <= end <= len(data):
            raise ImageError("the JPEG's header is damaged or truncated")
        yield marker, start, end
        at = end
        if marker == _SOS:
            after = _MARKER_AFTER_SCAN.search(data, end)
            if after is None:
                raise ImageError("the JPEG is damaged or truncated")
            at = after.start()
    raise ImageError(f"the JPEG has more than {_MAX_SEGMENTS} segments", "send one without so much metadata")


def _read_header(data: bytes) -> _Header:
    frame: tuple[int, bytes] | None = None
    for marker, start, end in _segments(data):
        if marker in _FRAME_HEADERS and frame is None:
            frame = marker, data[start:end]
        if marker == _SOS:
            if frame is None:
                break
            return _parse_header(*frame, first_scan=data[start:end])
    raise ImageError("the JPEG's header is damaged or truncated (no pixels follow it)")


def _parse_header(marker: int, content: bytes, first_scan: bytes) -> _Header:
    if kind := _FRAME_HEADERS[marker]:
        raise ImageError(f"the JPEG is {kind}", "send a baseline JPEG")
    if len(content) < 6 or len(content) != 6 + 3 * content[5]:
        raise ImageError("the JPEG's header is damaged or truncated")
    bits, height, width, components = struct.unpack_from(">BHHB", content)
    if bits != 8:
        raise ImageError(f"the JPEG has {bits} bits a channel", "send 8 bits a channel")
    if height == 0 or width == 0:
        raise ImageError(f"the JPEG's header is damaged, or leaves the height to the end ({width} x {height} pixels)")
    if components not in (1, 3, 4):
        raise ImageError(f"the JPEG has {components} components", "send YCbCr or gray")
    return _Header(
        (height, width),
        tuple((both >> 4, both & 15) for both in content[7::3]),
        component_ids=content[6::3],
        is_in_one_scan=marker != _PROGRESSIVE and first_scan[:1] == content[5:6],
    )


def _check_all_scans(data: bytes, header: _Header) -> None:
    """Raise ImageError where some bit of some coefficient is in no scan: libjpeg takes what there is for all."""
    missing_bits = {component: [1] * _COEFFICIENTS for component in header.component_ids}
    for marker, start, end in _segments(data):
        if marker != _SOS:
            continue
        components = data[start] if start < end else 0
        if end - start != 4 + 2 * components:
            raise ImageError("the JPEG is damaged or truncated (a scan's header is)")
        first, last, bits = data[end - 3 : end]
        for component in data[start + 1 : end - 3 : 2]:
            for at in range(first, min(last + 1, _COEFFICIENTS)):
                if component in missing_bits:  # libjpeg refuses others
                    missing_bits[component][at] = bits & 15
    if any(map(any, missing_bits.values())):
        raise ImageError("the JPEG is damaged or truncated (scans are missing)")
