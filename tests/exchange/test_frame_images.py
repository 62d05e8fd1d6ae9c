"""The decoder of frames: what is whole comes back right, and everything else is refused by name."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from exchange.images.errors import ImageError
from exchange.images.frames import MAX_FILE_PIXELS, ImageFormat, decode, decode_file, exif_orientation, read_size
from server.settings import GatewaySettings
from tests.image_files import (
    BASELINE,
    END_OF_JPEG,
    PIXELS,
    PLAIN_PNG,
    PROGRESSIVE,
    REFUSED,
    RESTARTS,
    WHOLE,
    exif,
    interlaced_png,
    pillow,
)

MAX_PIXELS = 1 << 20


def read(data: bytes, image_format: ImageFormat) -> NDArray[np.uint8]:
    size_hw = read_size(data, image_format, MAX_PIXELS)
    image_HW3 = decode(data, image_format)
    assert image_HW3.shape == (*size_hw, 3)
    return image_HW3


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_whole_is_read_as_another_decoder_reads_it(name: str) -> None:
    image_format, data = WHOLE[name]
    other = Image.open(io.BytesIO(data)).convert("RGB")
    np.testing.assert_array_equal(read(data, image_format), np.asarray(other))
    assert decode_file(data).flags.writeable


def test_interlaced_rows_come_back_as_they_were() -> None:
    np.testing.assert_array_equal(decode_file(interlaced_png()), PIXELS)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_whole_or_not_supported_is_refused_by_name(name: str) -> None:
    image_format, data, message = REFUSED[name]
    with pytest.raises(ImageError, match=message):
        read(data, image_format)
    with pytest.raises(ImageError):
        decode_file(data)


@pytest.mark.parametrize("whole", [BASELINE, PROGRESSIVE, RESTARTS])
def test_a_jpeg_cut_anywhere_is_refused_also_where_its_end_was_glued_on(whole: bytes) -> None:
    pixels = decode_file(whole)
    for length in range(len(whole)):
        with pytest.raises(ImageError):
            decode_file(whole[:length])
    for length in range(len(whole) - 3):  # of the last byte, bits may be padding
        with pytest.raises(ImageError):
            decode_file(whole[:length] + END_OF_JPEG)
    np.testing.assert_array_equal(decode_file(whole + whole[:100]), pixels)


@pytest.mark.parametrize("whole", [PLAIN_PNG, interlaced_png()])
def test_a_png_cut_or_changed_anywhere_is_refused(whole: bytes) -> None:
    for length in range(0, len(whole), 7):
        with pytest.raises(ImageError):
            decode_file(whole[:length])
    for at in [*range(60), *range(60, len(whole) - 20, 13), *range(len(whole) - 20, len(whole))]:
        with pytest.raises(ImageError):
            decode_file(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])


@pytest.mark.parametrize("kind", ["WEBP", "BMP", "GIF", "TIFF"])
def test_a_file_of_another_kind_is_named(kind: str) -> None:
    with pytest.raises(ImageError, match=f"(?i)it is a {kind} file: convert it to JPEG or PNG"):
        decode_file(pillow(kind))


@pytest.mark.parametrize("size_bytes", [0, 11, 13])
def test_raw_rows_have_three_bytes_a_pixel(size_bytes: int) -> None:
    assert read_size(bytes(12), ImageFormat.RGB8, 99, (2, 2)) == (2, 2)
    with pytest.raises(ImageError, match="exactly 12 bytes"):
        read_size(bytes(size_bytes), ImageFormat.RGB8, 99, (2, 2))
    with pytest.raises(ImageError, match="exactly 12 bytes"):
        decode(bytes(size_bytes), ImageFormat.RGB8, (2, 2))


def test_files_may_have_as_many_pixels_as_any_gateway_takes() -> None:
    with pytest.raises(ValueError, match="max_frame_pixels"):
        GatewaySettings(max_frame_pixels=MAX_FILE_PIXELS + 1)
    with pytest.raises(ImageError, match="at most"):
        decode_file(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR" + (1 << 20).to_bytes(4) * 2 + b"\x08\x02\0\0\0" + bytes(20))


def test_orientation_is_told_and_turns_nothing() -> None:
    for kind in ("JPEG", "PNG"):
        for orientation in (1, 3, 6):
            assert exif_orientation(pillow(kind, exif=exif(orientation))) == orientation
        assert exif_orientation(pillow(kind)) == 1
        np.testing.assert_array_equal(decode_file(pillow(kind, exif=exif(6))), decode_file(pillow(kind)))
    assert exif_orientation(b"") == exif_orientation(pillow("JPEG", exif=b"Exif\0\0II*\0no tags")) == 1


@pytest.mark.parametrize("compressed", [False, True])
def test_orientation_is_told_where_it_stands_in_a_text_of_a_png(compressed: bool) -> None:
    tags = exif(6)
    text = PngInfo()
    text.add_text("Raw profile type exif", f"\nexif\n{len(tags):8}\n{tags.hex()}\n", zip=compressed)
    assert exif_orientation(pillow("PNG", pnginfo=text)) == 6
    for damaged in ("", "\nexif\n 4\nno hexadecimal digits"):
        text = PngInfo()
        text.add_text("Raw profile type exif", damaged, zip=compressed)
        assert exif_orientation(pillow("PNG", pnginfo=text)) == 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_orientation_is_told_where_only_xmp_has_it(kind: str) -> None:
    xmp = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="8"/></x:xmpmeta>'
    text = PngInfo()
    text.add_itxt("XML:com.adobe.xmp", xmp)
    saved = {"xmp": xmp.encode()} if kind == "JPEG" else {"pnginfo": text}
    assert exif_orientation(pillow(kind, **saved)) == 8
    assert exif_orientation(pillow(kind, exif=exif(1), **saved)) == 1, "EXIF goes first"
