"""Frames of any size: fitted with their aspect kept, padded by their edge, labels brought back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.images.frame_fitting import fit_frame, fitted_size, restore_labels


@pytest.mark.parametrize(
    ("original", "frame", "fitted"),
    [  # the authors' resizing with kept aspect
        ((1052, 1914), (1440, 2560), (1407, 2560)),
        ((1046, 1914), (1440, 2560), (1399, 2560)),
        ((760, 1280), (1520, 2560), (1520, 2560)),
        ((1052, 1914), (720, 1280), (704, 1280)),
        ((720, 1280), (1024, 2048), (1024, 1820)),
        ((1000, 1900), (1024, 2048), (1024, 1946)),
        ((360, 480), (1024, 2048), (1024, 1365)),
        ((360, 480), (512, 1024), (512, 683)),
    ],
)
def test_the_aspect_is_kept_as_the_authors_keep_it(
    original: tuple[int, int], frame: tuple[int, int], fitted: tuple[int, int]
) -> None:
    assert fitted_size(original, frame) == fitted


def test_a_frame_of_the_right_size_is_untouched() -> None:
    image = np.random.default_rng(0).integers(256, size=(16, 32, 3), dtype=np.uint8)
    frame, valid = fit_frame(image, (16, 32))
    assert valid == (16, 32)
    np.testing.assert_array_equal(frame, image)


def test_padding_repeats_the_edge_to_the_right_and_below() -> None:
    image = np.random.default_rng(0).integers(256, size=(16, 16, 3), dtype=np.uint8)
    frame, valid = fit_frame(image, (16, 32))
    assert valid == (16, 16)
    np.testing.assert_array_equal(frame[:, 16:], image[:, -1:].repeat(16, axis=1))
    frame, valid = fit_frame(image, (24, 16))
    assert valid == (16, 16)
    np.testing.assert_array_equal(frame[16:], image[-1:].repeat(8, axis=0))


def test_a_larger_frame_is_averaged_by_area() -> None:
    image = np.random.default_rng(0).integers(256, size=(32, 64, 3), dtype=np.uint8)
    frame, _ = fit_frame(image, (16, 32))
    means = image.reshape(16, 2, 32, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(frame, means, atol=0.51)


@given(
    original=st.tuples(st.integers(1, 90), st.integers(1, 90)), frame=st.tuples(st.integers(1, 90), st.integers(1, 90))
)
def test_labels_come_back_at_the_original_size(original: tuple[int, int], frame: tuple[int, int]) -> None:
    image = np.zeros((*original, 3), dtype=np.uint8)
    fitted, valid = fit_frame(image, frame)
    assert fitted.shape == (*frame, 3)
    assert 1 <= valid[0] <= frame[0]
    assert 1 <= valid[1] <= frame[1]
    labels = np.full(frame, 7, dtype=np.uint8)
    labels[valid[0] :] = 9
    labels[:, valid[1] :] = 9
    restored = restore_labels(labels, valid, original)
    assert restored.shape == original
    assert (restored == 7).all()


def test_enlarged_labels_are_nearest_neighbours() -> None:
    labels = np.arange(4, dtype=np.uint8).reshape(2, 2)
    np.testing.assert_array_equal(restore_labels(labels, (2, 2), (4, 4)), labels.repeat(2, 0).repeat(2, 1))
