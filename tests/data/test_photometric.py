"""The wide photometric range keeps its bounds and varies light, colour and noise; normalisation is the authors'."""

import numpy as np
import torch

from adaptation.learning.data.wide_photometric import vary_widely
from adaptation.learning.networks.normalization import MEAN_RGB, STD_RGB, denormalize, normalize


def test_wide_changes_are_seeded_and_leave_the_crop_itself_alone() -> None:
    image = np.random.default_rng(0).integers(256, size=(32, 32, 3), dtype=np.uint8)
    kept = image.copy()
    varied = [vary_widely(image, np.random.default_rng(seed)) for seed in range(50)]
    np.testing.assert_array_equal(image, kept)
    for seed, crop in enumerate(varied):
        np.testing.assert_array_equal(crop, vary_widely(image, np.random.default_rng(seed)))
    unchanged = sum(np.array_equal(image, crop) for crop in varied)
    assert 15 <= unchanged <= 35


def test_wide_changes_reach_dusk_and_keep_the_order_of_brightness() -> None:
    grey = np.full((16, 16, 3), 128, dtype=np.uint8)
    means = np.array([vary_widely(grey, np.random.default_rng(seed)).mean() for seed in range(300)])
    # 255 * 0.35 * 0.5 ** 3 = 11 is the darkest, up to the channel gains; 255 * 1.2 * 0.5 ** 0.5 = 216 the brightest.
    assert means.min() < 25
    assert means.max() > 160
    ramp = np.linspace(0, 255, 64).astype(np.uint8)[None, :, None].repeat(8, axis=0).repeat(3, axis=2)
    for seed in range(20):
        columns = vary_widely(ramp, np.random.default_rng(seed)).astype(float).mean(axis=(0, 2))
        assert columns[-8:].mean() > columns[:8].mean()


def test_normalisation_is_exact_and_inverted() -> None:
    images = torch.randint(256, (2, 4, 6, 3), dtype=torch.uint8)
    normalized = normalize(images)
    expected = (images.numpy().astype(np.float32) - np.float32(MEAN_RGB)) * (1 / np.float32(STD_RGB))
    np.testing.assert_array_equal(normalized.permute(0, 2, 3, 1).numpy(), expected)
    assert normalized.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(denormalize(normalized) * 255, images.permute(0, 3, 1, 2).float(), atol=1e-4, rtol=0)
