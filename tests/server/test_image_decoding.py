"""Frames from bytes: what is read, and what is refused before or during decoding."""

import contextlib
import io
import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from exchange.images.frames import ImageFormat
from server.errors import InvalidRequest
from server.frames.frames import EncodedFrame
from server.frames.image_decoding import decode, read_size

MAX_PIXELS = 1 << 20
PIXELS = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def pillow(image_format: str, mode: str = "RGB", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).convert(mode).save(buffer, image_format, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_claiming(
    width: int, height: int, bits: int = 8, color_type: int = 2, later_size: tuple[int, int] | None = None
) -> bytes:
    """A PNG whose header claims what it likes over a few bytes of pixels; a second header may claim more."""
    headers = b"".join(
        chunk(b"IHDR", struct.pack(">IIBBBBB", *size, bits, color_type, 0, 0, 0))
        for size in ((width, height), later_size)
        if size
    )
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + headers + pixels + chunk(b"IEND", b"")


def jpeg_claiming(width: int, height: int) -> bytes:
    """A JPEG whose frame header claims another size."""
    data = bytearray(pillow("JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def read(data: bytes, image_format: ImageFormat, declared_size_hw: tuple[int, int] = (0, 0)) -> NDArray[np.uint8]:
    frame = EncodedFrame(data, image_format, declared_size_hw)
    size_hw = read_size(frame, MAX_PIXELS)
    image_HW3 = decode(frame)
    assert image_HW3.shape == (*size_hw, 3)
    assert image_HW3.dtype == np.uint8
    return image_HW3


def test_lossless_formats_come_back_as_they_were() -> None:
    np.testing.assert_array_equal(read(pillow("PNG"), ImageFormat.PNG), PIXELS)
    np.testing.assert_array_equal(read(pillow("PNG", "RGBA"), ImageFormat.PNG), PIXELS)
    np.testing.assert_array_equal(read(PIXELS.tobytes(), ImageFormat.RGB8, (48, 64)), PIXELS)
    palette = Image.fromarray(PIXELS).quantize(16)
    for bits in (4, 8):
        buffer = io.BytesIO()
        palette.save(buffer, "PNG", bits=bits, transparency=bytes([0, 128]))
        np.testing.assert_array_equal(read(buffer.getvalue(), ImageFormat.PNG), np.asarray(palette.convert("RGB")))
    gray = np.asarray(Image.fromarray(PIXELS).convert("L"))
    for mode in ("L", "LA"):
        np.testing.assert_array_equal(read(pillow("PNG", mode), ImageFormat.PNG), np.stack([gray] * 3, axis=-1))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_jpegs_come_back_as_another_decoder_reads_them(options: dict[str, object]) -> None:
    data = pillow("JPEG", quality=95, **options)
    other = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(read(data, ImageFormat.JPEG).astype(int) - other).mean() < 1


def test_a_gray_jpeg_becomes_rgb() -> None:
    image_HW3 = read(pillow("JPEG", "L"), ImageFormat.JPEG)
    assert (image_HW3 == image_HW3[..., :1]).all()


def test_a_frame_of_one_pixel_is_a_frame() -> None:
    assert read(b"abc", ImageFormat.RGB8, (1, 1)).tolist() == [[[97, 98, 99]]]


HALF_JPEG, HALF_PNG = pillow("JPEG")[:1500], pillow("PNG")[:4000]
REFUSED = {
    "empty jpeg": (ImageFormat.JPEG, b"", "begins with nothing"),
    "png called jpeg": (ImageFormat.JPEG, pillow("PNG"), "format is 'jpeg' but the data begins with 89 50"),
    "jpeg called png": (ImageFormat.PNG, pillow("JPEG"), "format is 'png' but the data begins with ff d8"),
    "jpeg of magic alone": (ImageFormat.JPEG, b"\xff\xd8\xff\xe0", "header is damaged or truncated"),
    "half a jpeg": (ImageFormat.JPEG, HALF_JPEG, "the JPEG is damaged or truncated"),
    "jpeg without its end": (ImageFormat.JPEG, pillow("JPEG")[:-2], "the JPEG is damaged or truncated"),
    "cmyk jpeg": (ImageFormat.JPEG, pillow("JPEG", "CMYK"), "is CMYK: send YCbCr or gray"),
    "jpeg of no pixels": (ImageFormat.JPEG, jpeg_claiming(0, 0), "header is damaged"),
    "jpeg too large": (ImageFormat.JPEG, jpeg_claiming(40000, 40000), "send one of at most 1048576"),
    "jpeg of many scans": (ImageFormat.JPEG, pillow("JPEG") + b"\xff\xda" * 100, "more than 100 scans"),
    "large jpeg of fewer": (ImageFormat.JPEG, jpeg_claiming(1024, 1024) + b"\xff\xda" * 16, "more than 16 scans"),
    "half a png": (ImageFormat.PNG, HALF_PNG, "the PNG is damaged or truncated"),
    "png of magic alone": (ImageFormat.PNG, b"\x89PNG\r\n\x1a\n", "header is truncated"),
    "png without header": (ImageFormat.PNG, b"\x89PNG\r\n\x1a\n" + bytes(30), "does not begin with its header"),
    "png of no pixels": (ImageFormat.PNG, png_claiming(0, 0), "0 x 0 pixels: send one with at least one"),
    "png without rows": (ImageFormat.PNG, png_claiming(16, 0), "16 x 0 pixels"),
    "16-bit png": (ImageFormat.PNG, png_claiming(16, 16, bits=16), "16 bits a channel .* send 8 bits a channel"),
    "png of unknown colours": (ImageFormat.PNG, png_claiming(16, 16, color_type=5), "colour type 5"),
    "png of two headers": (ImageFormat.PNG, png_claiming(8, 8, later_size=(9400, 9400)), "contradicts its own header"),
    "png without pixels": (ImageFormat.PNG, png_claiming(16, 16)[:33], "cut off before its end.*send a complete file"),
    "png too large": (ImageFormat.PNG, png_claiming(2**31 - 1, 2**31 - 1), "send one of at most 1048576"),
    "png of fewer pixels than it claims": (ImageFormat.PNG, png_claiming(500, 500), "the PNG is damaged"),
    "png with a damaged header": (ImageFormat.PNG, png_claiming(16, 16)[:29] + bytes(40), "the PNG is damaged"),
    "empty rgb8": (ImageFormat.RGB8, b"", "0 x 0 pixels"),
    "short rgb8": (ImageFormat.RGB8, bytes(10), "rgb8 data of 10 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_frame_is_refused_with_what_to_send(name: str) -> None:
    image_format, data, message = REFUSED[name]
    declared_size_hw = (2, 2) if name == "short rgb8" else (0, 0)
    with pytest.raises(InvalidRequest, match=message):
        read(data, image_format, declared_size_hw)


@pytest.mark.parametrize(
    "frame",
    [
        EncodedFrame(png_claiming(30000, 30000), ImageFormat.PNG),
        EncodedFrame(jpeg_claiming(60000, 60000), ImageFormat.JPEG),
    ],
)
def test_a_bomb_is_refused_before_anything_is_decoded(frame: EncodedFrame) -> None:
    tracemalloc.start()
    with pytest.raises(InvalidRequest, match="at most"):
        read_size(frame, 1 << 24)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 1 << 20


def test_random_damage_ends_in_a_refusal_or_a_frame_and_nothing_else() -> None:
    rng = np.random.default_rng(1)
    originals = ((ImageFormat.JPEG, simplejpeg.encode_jpeg(PIXELS)), (ImageFormat.PNG, pillow("PNG")))
    for image_format, original in originals:
        for _ in range(300):
            data = bytearray(original)
            for at in rng.integers(0, len(data), 3):
                data[at] = rng.integers(0, 256)
            with contextlib.suppress(InvalidRequest):
                read(bytes(data[: rng.integers(1, len(data) + 1)]), image_format)
