"""Label maps as bytes come back as they went in, and are what any PNG reader understands."""

import io

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from exchange.images.labels import (
    LabelImageError,
    decode_index_png,
    decode_runs,
    encode_gray_png,
    encode_palette_png,
    encode_runs,
)
from exchange.label_space import colorize

label_maps = arrays(
    np.uint8,
    array_shapes(min_dims=2, max_dims=2, max_side=24),
    elements=st.sampled_from([0, 1, 2, 10, 18, 255]),
)


@given(label_maps)
def test_every_encoding_is_undone_by_its_decoder(labels: np.ndarray) -> None:
    np.testing.assert_array_equal(decode_index_png(encode_palette_png(labels)), labels)
    np.testing.assert_array_equal(decode_index_png(encode_gray_png(labels)), labels)
    np.testing.assert_array_equal(decode_runs(encode_runs(labels), labels.shape), labels)


def test_a_palette_png_shows_the_cityscapes_colors_in_other_readers() -> None:
    labels = np.array([[0, 1, 2], [13, 18, 255]], dtype=np.uint8)
    png = encode_palette_png(labels)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png)).convert("RGB")), colorize(labels))
    opencv_bgr = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(opencv_bgr[..., ::-1], colorize(labels))


def test_a_run_longer_than_16_bits_is_split() -> None:
    labels = np.full((300, 500), 7, dtype=np.uint8)
    runs = encode_runs(labels)
    assert len(runs) == 3 * 3
    np.testing.assert_array_equal(decode_runs(runs, (300, 500)), labels)


def test_what_is_not_a_label_map_is_refused() -> None:
    png = encode_palette_png(np.zeros((64, 64), dtype=np.uint8))
    with pytest.raises(LabelImageError, match="damaged or truncated"):
        decode_index_png(png[: len(png) // 2])
    with pytest.raises(LabelImageError, match="no PNG"):
        decode_index_png(b"hello")
    rgb = io.BytesIO()
    Image.new("RGB", (4, 4)).save(rgb, "PNG")
    with pytest.raises(LabelImageError, match="mode RGB"):
        decode_index_png(rgb.getvalue())
    with pytest.raises(LabelImageError, match="pixels for a map of 4 x 5"):
        decode_runs(encode_runs(np.zeros((4, 4), dtype=np.uint8)), (4, 5))
    with pytest.raises(LabelImageError, match="whole number"):
        decode_runs(b"\x00\x01", (1, 1))
