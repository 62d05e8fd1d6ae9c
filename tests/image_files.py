"""JPEG and PNG files, whole and damaged, made from a small picture."""

import io
import itertools
import struct
import zlib

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from exchange.images.frames import ImageFormat

JPEG, PNG = ImageFormat.JPEG, ImageFormat.PNG
PIXELS: NDArray[np.uint8] = cv2.GaussianBlur(
    np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8), (0, 0), 1.5
).astype(np.uint8)
END_OF_JPEG = b"\xff\xd9"
_TABLES = b"\xff\xc4"
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def pillow(image_format: str, mode: str = "RGB", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).convert(mode).save(buffer, image_format, **options)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes, *, wrong: bool = False) -> bytes:
    checksum = zlib.crc32(kind + content) ^ wrong
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def header(bits: int = 8, color_type: int = 2, interlacing: int = 0) -> bytes:
    return struct.pack(">IIBBBBB", 64, 48, bits, color_type, 0, 0, interlacing)


def rows(pixels: NDArray[np.uint8]) -> bytes:
    """Unfiltered rows of a PNG."""
    return b"".join(b"\0" + row.tobytes() for row in pixels)


def png(
    compressed: bytes,
    *,
    bits: int = 8,
    color_type: int = 2,
    interlacing: int = 0,
    before: bytes = b"",
    end: bytes = b"",
) -> bytes:
    first = chunk(b"IHDR", header(bits, color_type, interlacing))
    return PNG_MAGIC + first + before + chunk(b"IDAT", compressed) + (end or chunk(b"IEND", b""))


def interlaced_png() -> bytes:
    passes = (rows(PIXELS[row::down, column::across]) for row, column, down, across in _ADAM7)
    return png(zlib.compress(b"".join(passes)), interlacing=1)


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def frame_header_changed(data: bytes, at: int, new: bytes, marker: bytes = b"\xff\xc0") -> bytes:
    """The JPEG with other bytes at a place behind its frame header's marker."""
    place = data.index(marker) + at
    return data[:place] + new + data[place + len(new) :]


def scan_starts(data: bytes) -> list[int]:
    """Where each scan's own tables begin, from the second scan on."""
    starts = [at for at in range(len(data)) if data.startswith(b"\xff\xda", at)]
    return [min(start, data.rfind(_TABLES, before, start) % len(data)) for before, start in itertools.pairwise(starts)]


def sequential_in_three_scans() -> bytes:
    """A baseline JPEG whose components have a scan each, all of them one gray image's."""
    gray = simplejpeg.encode_jpeg(PIXELS[..., :1].copy(), colorspace="GRAY", colorsubsampling="Gray")
    frame, scan = gray.index(b"\xff\xc0"), gray.index(b"\xff\xda")
    size = gray[frame + 4 : frame + 9]
    components = b"".join(bytes([number, 0x11, 0]) for number in (1, 2, 3))
    three = b"\xff\xc0" + struct.pack(">H", 17) + size + b"\x03" + components
    coded = gray[scan + 10 : -2]
    scans = b"".join(b"\xff\xda\x00\x08\x01" + bytes([number, 0, 0, 63, 0]) + coded for number in (1, 2, 3))
    return gray[:frame] + three + gray[frame + 13 : scan] + scans + END_OF_JPEG


BASELINE, PROGRESSIVE, PLAIN_PNG = pillow("JPEG"), pillow("JPEG", progressive=True), pillow("PNG")
RESTARTS = pillow("JPEG", restart_marker_blocks=3)
_ROWS = rows(PIXELS)
_COMPRESSED = zlib.compress(_ROWS)
_ANIMATED = chunk(b"acTL", struct.pack(">II", 1, 0)) + chunk(
    b"fcTL", struct.pack(">IIIIIHHBB", 0, 64, 48, 0, 0, 1, 1, 0, 0)
)

_ADOBE = b"Adobe\0\x64\0\0\0\0"
_OTHER_KINDS = ("WEBP", "BMP", "GIF", "TIFF")
_GRAY_ROWS = zlib.compress(rows(PIXELS[..., 0]))
_THREE_SCANS = sequential_in_three_scans()
_END = chunk(b"IEND", b"")

WHOLE = {
    "baseline": (JPEG, BASELINE),
    "progressive": (JPEG, PROGRESSIVE),
    "restarts": (JPEG, RESTARTS),
    "gray jpeg": (JPEG, pillow("JPEG", "L")),
    "progressive gray jpeg": (JPEG, pillow("JPEG", "L", progressive=True)),
    "jpeg in rgb": (JPEG, pillow("JPEG", keep_rgb=True, subsampling=0)),
    "a scan for each component": (JPEG, _THREE_SCANS),
    **{
        f"{name} jpeg": (JPEG, simplejpeg.encode_jpeg(PIXELS, colorsubsampling=name))
        for name in ("444", "422", "420", "440", "411")
    },
    "padded jpeg": (JPEG, BASELINE + bytes(100)),
    "jpeg with metadata": (JPEG, pillow("JPEG", exif=exif(1), icc_profile=bytes(200_000), comment=b"x")),
    "turned jpeg": (JPEG, pillow("JPEG", exif=exif(6))),
    "fill bytes": (
        JPEG,
        BASELINE.replace(b"\xff\xda", b"\xff\xff\xff\xda").replace(END_OF_JPEG, b"\xff" + END_OF_JPEG),
    ),
    "png": (PNG, PLAIN_PNG),
    "padded png": (PNG, PLAIN_PNG + bytes(100)),
    "gray png": (PNG, pillow("PNG", "L")),
    "gray png with alpha": (PNG, pillow("PNG", "LA")),
    "png with alpha": (PNG, pillow("PNG", "RGBA")),
    "palette png": (PNG, pillow("PNG", "P")),
    "interlaced png": (PNG, interlaced_png()),
    "animated png": (PNG, png(_COMPRESSED, before=_ANIMATED)),
    "turned png": (PNG, pillow("PNG", exif=exif(3))),
}

REFUSED = {
    "no jpeg": (JPEG, b"", "begins with nothing"),
    "no png": (PNG, b"", "begins with nothing"),
    **{f"{kind} called jpeg": (JPEG, pillow(kind), "the data begins with") for kind in _OTHER_KINDS},
    **{f"{kind} called png": (PNG, pillow(kind), "the data begins with") for kind in _OTHER_KINDS},
    "jpeg without its end": (JPEG, BASELINE[:-2], "damaged or truncated"),
    "jpeg cut and closed": (JPEG, BASELINE[:900] + END_OF_JPEG, "damaged or truncated"),
    "jpeg cut and padded": (JPEG, BASELINE[:900] + bytes(200), "damaged or truncated"),
    "restart lost": (
        JPEG,
        RESTARTS[: RESTARTS.index(b"\xff\xd1")] + RESTARTS[RESTARTS.index(b"\xff\xd2") :],
        "damaged or truncated",
    ),
    "higher than its scan": (JPEG, frame_header_changed(BASELINE, 5, struct.pack(">H", 96)), "damaged or truncated"),
    "lower than its scan": (JPEG, frame_header_changed(BASELINE, 5, struct.pack(">H", 16)), "damaged or truncated"),
    "height to the end": (JPEG, frame_header_changed(BASELINE, 5, bytes(2)), "leaves the height to the end"),
    "12-bit jpeg": (JPEG, frame_header_changed(BASELINE, 4, b"\x0c"), "12 bits a channel"),
    "lossless jpeg": (JPEG, BASELINE.replace(b"\xff\xc0", b"\xff\xc3"), "is lossless"),
    "hierarchical jpeg": (JPEG, BASELINE.replace(b"\xff\xc0", b"\xff\xc5"), "is hierarchical"),
    "arithmetic jpeg": (JPEG, BASELINE.replace(b"\xff\xc0", b"\xff\xc9"), "is arithmetic-coded"),
    "progressive arithmetic jpeg": (JPEG, PROGRESSIVE.replace(b"\xff\xc2", b"\xff\xca"), "is arithmetic-coded"),
    "cmyk jpeg": (JPEG, pillow("JPEG", "CMYK"), "is CMYK"),
    "ycck jpeg": (JPEG, pillow("JPEG", "CMYK").replace(_ADOBE + b"\0", _ADOBE + b"\2"), "is YCCK"),
    "4:4:1 jpeg": (JPEG, frame_header_changed(BASELINE, 11, b"\x14"), "chroma layout is 1x4, 1x1, 1x1"),
    "4:1:0 jpeg": (JPEG, frame_header_changed(BASELINE, 11, b"\x42"), "chroma layout is 4x2, 1x1, 1x1"),
    "a scan for each but one": (JPEG, _THREE_SCANS[: scan_starts(_THREE_SCANS)[-1]] + END_OF_JPEG, "scans are missing"),
    **{
        f"progressive jpeg of {n + 1} scans": (JPEG, PROGRESSIVE[:at] + END_OF_JPEG, "scans are missing")
        for n, at in enumerate(scan_starts(PROGRESSIVE))
    },
    "jpeg without scans": (JPEG, BASELINE[: BASELINE.index(b"\xff\xda")] + END_OF_JPEG, "no pixels follow"),
    "jpeg of segments": (JPEG, b"\xff\xd8" + b"\xff\xfe\x00\x02" * 5000 + BASELINE[2:], "more than 4096 segments"),
    "png without its end": (PNG, PLAIN_PNG[:-12], "damaged or truncated"),
    "png cut in its end": (PNG, PLAIN_PNG[:-1], "damaged or truncated"),
    "png of a wrong end": (PNG, png(_COMPRESSED, end=chunk(b"IEND", b"", wrong=True)), "checksum of 'IEND'"),
    "png of wrong pixels": (
        PNG,
        PNG_MAGIC + chunk(b"IHDR", header()) + chunk(b"IDAT", _COMPRESSED, wrong=True) + _END,
        "the checksum of 'IDAT' is wrong",
    ),
    "png of a wrong header": (
        PNG,
        PNG_MAGIC + chunk(b"IHDR", header(), wrong=True) + PLAIN_PNG[33:],
        "the checksum of 'IHDR' is wrong",
    ),
    "png of a wrong palette": (
        PNG,
        png(_GRAY_ROWS, color_type=3, before=chunk(b"PLTE", bytes(768), wrong=True)),
        "the checksum of 'PLTE' is wrong",
    ),
    "png of fewer rows": (PNG, png(zlib.compress(_ROWS[:-193])), "bytes of pixels"),
    "png of half a row less": (PNG, png(zlib.compress(_ROWS[:-96])), "bytes of pixels"),
    "png whose stream ends early": (PNG, png(_COMPRESSED[:-40]), "bytes of pixels"),
    "png whose stream has no checksum": (PNG, png(_COMPRESSED[:-4]), "bytes of pixels"),
    "png whose stream has a wrong checksum": (
        PNG,
        png(_COMPRESSED[:-1] + bytes([_COMPRESSED[-1] ^ 1])),
        "incorrect data check",
    ),
    "png of more rows": (PNG, png(zlib.compress(_ROWS + _ROWS[:193])), "more pixels"),
    "png of two streams": (PNG, png(_COMPRESSED + _COMPRESSED), "more pixels"),
    "png without pixels": (PNG, png(b""), "bytes of pixels"),
    "png of an unknown filter": (PNG, png(zlib.compress(b"\x09" + _ROWS[1:])), "damaged or truncated"),
    "png of pixels in two pieces": (
        PNG,
        png(_COMPRESSED[:99], end=chunk(b"tEXt", b"a\0b") + chunk(b"IDAT", _COMPRESSED[99:]) + _END),
        "other chunks lie between its pixels",
    ),
    "16-bit png": (PNG, png(zlib.compress(rows(np.repeat(PIXELS, 2, axis=2))), bits=16), "16 bits a channel"),
    **{
        f"{bits}-bit gray png": (
            PNG,
            png(zlib.compress(rows(PIXELS[:, : 8 * bits, 0])), bits=bits, color_type=0),
            f"{bits} bits a channel",
        )
        for bits in (1, 2, 4)
    },
    "png without a palette": (PNG, png(_GRAY_ROWS, color_type=3), "palette"),
    "png of a small palette": (
        PNG,
        png(_GRAY_ROWS, color_type=3, before=chunk(b"PLTE", bytes(30))),
        "colours that its palette does not have",
    ),
    "png of a critical chunk": (PNG, png(_COMPRESSED, before=chunk(b"ABCD", b"")), "critical chunk 'ABCD'"),
}
