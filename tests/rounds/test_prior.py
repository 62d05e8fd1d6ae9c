"""What a frame tells of its domain's prior."""

from dataclasses import replace
from pathlib import Path

import torch

from adaptation.learning.data.data_choice import choose_data
from adaptation.learning.evaluation.evaluate import open_labeller
from adaptation.learning.rounds.prior import read_frame_evidence


def test_pixels_are_calibrated_and_presence_is_not(start: Path, day: Path) -> None:
    """Posterior maximization asks for probabilities that are right on average; the authors' presence for raw ones."""
    labeller = open_labeller(start, (64, 96), torch.device("cpu"))
    image = choose_data([day], "train")[0].frames()[0].image
    raw, calibrated = (read_frame_evidence(replace(labeller, temperature=t), image, 1) for t in (1.0, 2.0))
    torch.testing.assert_close(calibrated.pixels_SC, (raw.pixels_SC.log() / 2).softmax(dim=1))
    torch.testing.assert_close(calibrated.presence_C, raw.presence_C)
    assert calibrated.confidence == raw.confidence
