"""Temperature and ATC threshold, against a network whose overconfidence is known."""

import numpy as np
import pytest
import torch

from adaptation.learning.export.calibration import CalibrationSample, fit_calibration
from adaptation.learning.export.engine_logits import FrameLogits
from exchange.label_space import NUM_CLASSES

PIXELS = 20_000


def made_up(sharpness: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [M, K] of right probabilities times a factor, and labels drawn from these probabilities."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2.0 * torch.randn(PIXELS, NUM_CLASSES, generator=generator)
    truth = torch.multinomial(logits.softmax(dim=1), 1, generator=generator)[:, 0]
    return sharpness * logits, truth


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_what_was_done_to_right_probabilities(sharpness: float) -> None:
    assert fit_calibration(*made_up(sharpness, 0)).temperature == pytest.approx(sharpness, rel=0.05)


def test_as_many_pixels_exceed_the_threshold_as_are_right() -> None:
    logits, truth = made_up(3.0, 1)
    found = fit_calibration(logits, truth)
    confidence = (logits / found.temperature).softmax(dim=1).amax(dim=1)
    right = float((logits.argmax(dim=1) == truth).float().mean())
    assert float((confidence > found.atc_threshold).float().mean()) == pytest.approx(right, abs=1e-3)


def test_a_network_without_error_is_believed_everywhere() -> None:
    logits, _ = made_up(1.0, 2)
    found = fit_calibration(logits, logits.argmax(dim=1))
    assert bool(((logits / found.temperature).softmax(dim=1).amax(dim=1) > found.atc_threshold).all())


def test_ignored_pixels_and_too_few_of_them_say_nothing() -> None:
    logits, truth = made_up(2.0, 3)
    grid = FrameLogits(logits[:4096].T.reshape(NUM_CLASSES, 32, 128).contiguous(), stride=4)
    labels = np.full((128, 512), 255, np.uint8)
    sample = CalibrationSample()
    sample.add(grid, labels)
    assert sample.fit() is None
    labels[2::4, 2::4] = truth[:4096].numpy().reshape(32, 128)
    sample.add(grid, labels)
    found = sample.fit()
    assert found is not None
    assert found.temperature == pytest.approx(2.0, rel=0.1)
