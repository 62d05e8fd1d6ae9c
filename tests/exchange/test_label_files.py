"""A label file gives the ids that were meant, whatever program wrote it, or is refused; it never gives others."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image

from exchange.images.labels import ColorPalette, LabelImageError, decode_index_png, decode_rgb16_png, encode_palette_png
from exchange.images.whole_png import GRAY, GRAY_ALPHA, PALETTE, RGB, RGBA, chunk
from exchange.label_space import PALETTE_RGB
from tests.exchange.png_files import gray_png, optimised_png, png_of

IDS = np.random.default_rng(0).choice(np.array([0, 1, 2, 8, 13, 18, 255], np.uint8), (13, 21))
COLORS = [tuple(color) for color in PALETTE_RGB.tolist()]
SHADES_2_AND_5 = [(9, 9, 9), (9, 9, 9), (70, 70, 70), (9, 9, 9), (9, 9, 9), (153, 153, 153)]
GTA5 = [(0, 0, 0)] * 7 + [(128, 64, 128), (244, 35, 232), (250, 170, 160), (230, 150, 140), (70, 70, 70)]


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("used", [1, 2, 4, 7, 17])
def test_a_palette_of_grays_shows_ids(used: int, interlaced: bool) -> None:
    some = np.array([255, 0, 13, 8, 2, 18, 1, *range(3, 8), *range(9, 14)], np.uint8)[:used]
    ids = np.random.default_rng(used).choice(some, (13, 21))
    for colors in ("train", "cityscapes", "none"):
        np.testing.assert_array_equal(decode_index_png(optimised_png(ids, interlaced=interlaced), colors), ids)


def test_only_the_entries_that_are_used_must_be_gray() -> None:
    palette = [(8, 8, 8), (1, 2, 3), (13, 13, 13)]
    found = decode_index_png(png_of(np.array([[0, 2, 2]]), PALETTE, 2, palette=palette))
    assert found.tolist() == [[8, 13, 13]]


def test_our_own_palette_shows_ids_by_their_places() -> None:
    palette = COLORS + [(0, 0, 0)] * 237
    for ids in (IDS, np.full((3, 4), 255), np.full((3, 4), 2), np.array([[2, 5], [5, 255]])):
        own = ids.astype(np.uint8)
        for file in (encode_palette_png(own), png_of(own, PALETTE, 8, palette=palette, interlaced=True)):
            np.testing.assert_array_equal(decode_index_png(file), own)
    short = png_of(np.array([[2, 5, 2]]), PALETTE, 4, palette=COLORS[:6])
    assert decode_index_png(short).tolist() == [[2, 5, 2]], "what is not used was cut off"
    assert decode_index_png(encode_palette_png(np.full((2, 2), 33, np.uint8)))[0, 0] == 33, "no class, and not road"


@pytest.mark.parametrize(
    ("indices", "palette", "colors"),
    [
        ([[0, 1, 2]], [COLORS[1], COLORS[0], COLORS[2]], "train"),
        ([[0, 1, 19]], [*COLORS, (1, 2, 3)], "train"),
        ([[0, 1]], [(0, 0, 0), (128, 0, 0)], "train"),
        ([[0, 1]], COLORS, "none"),
        ([[0, 1]], [(0, 0, 0), COLORS[0]], "cityscapes"),
    ],
    ids=["swapped", "no id", "another data set's", "train ids where there are none", "shortened"],
)
def test_palettes_that_do_not_tell_ids_are_refused(
    indices: list[list[int]], palette: list[tuple[int, int, int]], colors: ColorPalette
) -> None:
    with pytest.raises(LabelImageError, match="shows neither grays nor"):
        decode_index_png(png_of(np.array(indices), PALETTE, 8, palette=palette), colors)


def test_a_palette_that_tells_two_ids_is_refused() -> None:
    with pytest.raises(LabelImageError, match="tells other ids than its indices"):
        decode_index_png(png_of(np.array([[2, 5]]), PALETTE, 8, palette=SHADES_2_AND_5))
    with pytest.raises(LabelImageError, match="tells other ids than its indices"):
        decode_index_png(png_of(np.array([[255]]), PALETTE, 8, palette=[(0, 0, 0)] * 256))
    with pytest.raises(LabelImageError, match="index 3 has no colour"):
        decode_index_png(png_of(np.array([[0, 3]]), PALETTE, 2, palette=[(0, 0, 0), (1, 1, 1)]))


@pytest.mark.parametrize("ids", [[255], [2], [5], [2, 255], [5, 2, 255]])
def test_grays_of_our_own_palette_at_other_places_are_refused(ids: list[int]) -> None:
    palette = [(0, 0, 0) if k == 255 else COLORS[k] for k in ids]
    repacked = png_of(np.arange(len(ids))[None], PALETTE, 2, palette=palette)
    with pytest.raises(LabelImageError, match="both may be meant: give a PNG of ids"):
        decode_index_png(repacked)


def test_black_beside_a_gray_that_is_no_class_color_is_an_id() -> None:
    assert decode_index_png(optimised_png(np.array([[0, 8]], np.uint8))).tolist() == [[0, 8]]
    assert decode_index_png(png_of(np.array([[0]]), PALETTE, 1, palette=[(0, 0, 0)]), "none").tolist() == [[0]]


def test_cityscapes_ids_are_indices_of_their_colors() -> None:
    for ids in ([[0, 7, 8]], [[11, 0]], [[11, 11]]):
        assert decode_index_png(png_of(np.array(ids), PALETTE, 8, palette=GTA5), "cityscapes").tolist() == ids
    plates = [*GTA5, *[(1, 2, 3)] * 6, (153, 153, 153), *[(1, 2, 3)] * 15, (0, 0, 142)]
    groups = np.array([[18, 34, 7]])
    assert decode_index_png(png_of(groups, PALETTE, 8, palette=plates), "cityscapes").tolist() == groups.tolist()


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_gray_of_few_bits_is_never_scaled(depth: int) -> None:
    values = np.random.default_rng(depth).integers(0, 1 << depth, (5, 9))
    for interlaced in (False, True):
        with pytest.raises(LabelImageError, match=f"a gray PNG of {depth} bits a pixel"):
            decode_index_png(gray_png(values, depth, interlaced=interlaced))
        assert not decode_index_png(gray_png(0 * values, depth, interlaced=interlaced)).any()


@pytest.mark.parametrize("interlaced", [False, True])
def test_gray_of_8_and_16_bits_is_read_as_it_is(interlaced: bool) -> None:
    for depth in (8, 16):
        found = decode_index_png(gray_png(IDS, depth, interlaced=interlaced))
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, IDS)
    with pytest.raises(LabelImageError, match="16-bit gray PNG that holds 65535"):
        decode_index_png(gray_png(np.array([[0, 65535]]), 16, interlaced=interlaced))


@pytest.mark.parametrize(("color", "channels"), [(RGB, 3), (GRAY_ALPHA, 2), (RGBA, 4)])
@pytest.mark.parametrize("depth", [8, 16])
def test_colors_and_alpha_are_refused(color: int, channels: int, depth: int) -> None:
    with pytest.raises(LabelImageError, match="holds colours, not ids"):
        decode_index_png(png_of(np.zeros((3, 4, channels), np.uint8), color, depth))


def test_transparency_is_refused_and_other_metadata_changes_nothing() -> None:
    for color, palette, content in ((GRAY, None, b"\0\0"), (PALETTE, [(0, 0, 0), (1, 1, 1)], b"\0\xff")):
        with pytest.raises(LabelImageError, match="transparent ids"):
            decode_index_png(png_of(IDS % 2, color, 8, palette=palette, extra=chunk(b"tRNS", content)))
    odd = chunk(b"gAMA", b"\0\0\0\1") + chunk(b"sBIT", b"\1") + chunk(b"eXIf", b"MM") + chunk(b"tEXt", b"a\0b")
    np.testing.assert_array_equal(decode_index_png(png_of(IDS, GRAY, 8, extra=odd) + b"more"), IDS)


def with_fewer_rows(cut: int) -> bytes:
    """With so many bytes fewer of rows, in a whole chunk and a whole stream."""
    rows = b"".join(b"\0" + row.tobytes() for row in IDS)
    return png_of(IDS, GRAY, 8, rows=rows[: len(rows) - cut])


WHOLE = gray_png(IDS)
SPOILED = {
    "no end": (WHOLE[:-12], "cut off"),
    "half": (WHOLE[: len(WHOLE) // 2], "cut off"),
    "a byte is missing": (WHOLE[:-1], "cut off"),
    "a bit is wrong": (WHOLE[:60] + bytes([WHOLE[60] ^ 1]) + WHOLE[61:], "checksum"),
    "the end's checksum": (WHOLE[:-1] + b"\0", "checksum"),
    "rows are missing": (with_fewer_rows(22), "264 of 286 bytes"),
    "rows are too many": (png_of(IDS, GRAY, 8, rows=bytes(22 * 14)), "more pixels than its header"),
    "no such filter": (png_of(IDS, GRAY, 8, rows=b"\x09" * 286), "damaged or truncated"),
    "no pixels": (WHOLE[:33] + WHOLE[-12:], "0 of 286 bytes"),
    "pixels apart": (
        WHOLE[:33] + chunk(b"IDAT", b"") + chunk(b"tEXt", b"") + WHOLE[33:],
        "other chunks lie between",
    ),
    "no palette": (png_of(IDS, PALETTE, 8), "palette is missing"),
    "no whole palette": (png_of(IDS, PALETTE, 8, extra=chunk(b"PLTE", b"ab")), "palette"),
    "a strange depth": (png_of(IDS, GRAY, 3, rows=b""), "which do not go together"),
    "no header": (WHOLE[:8] + WHOLE[33:], "does not begin with its header"),
    "an unknown chunk": (png_of(IDS, GRAY, 8, extra=chunk(b"ABCD", b"")), "'ABCD', which is not known"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_png_that_is_not_whole_is_refused(name: str) -> None:
    data, why = SPOILED[name]
    with pytest.raises(LabelImageError, match=why):
        decode_index_png(data)


def test_every_cut_of_a_png_is_refused() -> None:
    assert np.array_equal(decode_index_png(WHOLE), IDS)
    for length in range(len(WHOLE)):
        with pytest.raises(LabelImageError):
            decode_index_png(WHOLE[:length])
    unfinished = zlib.compress(b"".join(b"\0" + row.tobytes() for row in IDS))[:-4]
    data = WHOLE[:33] + chunk(b"IDAT", unfinished) + WHOLE[-12:]
    with pytest.raises(LabelImageError, match="damaged or truncated"):
        decode_index_png(data)


@pytest.mark.parametrize("name", ["JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_other_formats_are_refused_by_name(name: str) -> None:
    file = io.BytesIO()
    Image.fromarray(IDS).save(file, name)
    with pytest.raises(LabelImageError, match=f"(?i)a {name} that is no PNG"):
        decode_index_png(file.getvalue())


def test_16_bit_rgb_is_whole_or_refused() -> None:
    ids = np.random.default_rng(1).integers(0, 1 << 16, (6, 7, 3))
    for interlaced in (False, True):
        data = png_of(ids, RGB, 16, interlaced=interlaced)
        np.testing.assert_array_equal(decode_rgb16_png(data), ids)
        for length in (len(data) - 12, len(data) // 2):
            with pytest.raises(LabelImageError, match="damaged or truncated"):
                decode_rgb16_png(data[:length])
    with pytest.raises(LabelImageError, match="damaged or truncated"):
        decode_rgb16_png(png_of(ids, RGB, 16, rows=b"\x09" * 6 * 43))
    with pytest.raises(LabelImageError, match="215 of 258 bytes"):
        decode_rgb16_png(png_of(ids, RGB, 16, rows=bytes(5 * 43)))
    for color, depth, channels in ((RGB, 8, 3), (RGBA, 16, 4)):
        with pytest.raises(LabelImageError, match="no 16-bit RGB PNG"):
            decode_rgb16_png(png_of(np.zeros((2, 2, channels), np.uint8), color, depth))
