"""Appearance transfer against naive computations: Lab by its definition, amplitudes by the whole Fourier transform."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from adaptation.learning.data.appearance import match_lab, match_low_frequencies, transfer_appearance

TO_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
WHITE = np.array([0.950456, 1.0, 1.088754])


def smooth_frame(seed: int, size: tuple[int, int], low: int, high: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(low, high, size=(size[0] // 8, size[1] // 8, 3))
    return np.kron(coarse, np.ones((8, 8, 1))).astype(np.uint8)


def naive_lab(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    rgb = image / 255
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = linear @ TO_XYZ.T / WHITE
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def naive_rgb(lab: NDArray[np.float64]) -> NDArray[np.float64]:
    fy = (lab[..., 0] + 16) / 116
    f = np.stack([fy + lab[..., 1] / 500, fy, fy - lab[..., 2] / 200], axis=-1)
    xyz = np.where(f > 0.206893, f**3, (f - 16 / 116) / 7.787) * WHITE
    linear = np.clip(xyz @ np.linalg.inv(TO_XYZ).T, 0, 1)
    return np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear) * 255


def naive_low_frequencies(image: NDArray[np.uint8], style: NDArray[np.uint8], beta: float) -> NDArray[np.float64]:
    """As FDA's authors write it: shifted transforms, the centre's amplitude replaced, back."""
    height, width = image.shape[:2]
    result = np.zeros(image.shape)
    reach = int(np.floor(min(height, width) * beta))
    box = np.s_[height // 2 - reach : height // 2 + reach + 1, width // 2 - reach : width // 2 + reach + 1]
    for channel in range(3):
        spectrum, other = (np.fft.fftshift(np.fft.fft2(frame[..., channel].astype(float))) for frame in (image, style))
        amplitude = np.abs(spectrum)
        amplitude[box] = np.abs(other)[box]
        result[..., channel] = np.fft.ifft2(np.fft.ifftshift(amplitude * np.exp(1j * np.angle(spectrum)))).real
    return result.clip(0, 255)


def test_lab_statistics_are_the_styles() -> None:
    day, dusk = smooth_frame(0, (48, 64), 60, 220), smooth_frame(1, (32, 40), 10, 120)
    lab, style = naive_lab(day), naive_lab(dusk)
    axes = (0, 1)
    expected = (lab - lab.mean(axes)) / lab.std(axes) * style.std(axes) + style.mean(axes)
    assert np.abs(match_lab(day, dusk) - naive_rgb(expected)).max() <= 1


def test_a_frame_without_contrast_takes_the_mean_alone() -> None:
    flat, dusk = np.full((16, 16, 3), 200, dtype=np.uint8), smooth_frame(1, (32, 40), 10, 120)
    matched = match_lab(flat, dusk)
    assert (matched == matched[0, 0]).all()
    assert naive_lab(matched)[0, 0] == pytest.approx(naive_lab(dusk).mean((0, 1)), abs=1)


@pytest.mark.parametrize("size", [(48, 64), (56, 40)])
@pytest.mark.parametrize("beta", [0.01, 0.05, 0.09])
def test_low_frequencies_take_the_styles_amplitude(size: tuple[int, int], beta: float) -> None:
    day, dusk = smooth_frame(0, size, 60, 220), smooth_frame(1, size, 10, 120)
    found = match_low_frequencies(day, dusk, beta)
    assert np.abs(found - naive_low_frequencies(day, dusk, beta)).max() <= 0.51


def test_a_style_of_another_size_is_fitted() -> None:
    day, dusk = smooth_frame(0, (48, 64), 60, 220), np.full((20, 30, 3), 120, dtype=np.uint8)
    assert match_low_frequencies(day, dusk).mean() == pytest.approx(120, abs=1)


@given(st.integers(0, 255), st.integers(0, 255), st.sampled_from(["none", "lab", "fourier"]))
@settings(max_examples=30, deadline=None)
def test_a_frame_in_its_own_look_stays(low: int, high: int, appearance: str) -> None:
    frame = smooth_frame(low, (16, 24), min(low, high), max(low, high) + 1)
    same = transfer_appearance(appearance, frame, frame)  # type: ignore[arg-type]
    assert np.abs(same.astype(int) - frame).max() <= 1
