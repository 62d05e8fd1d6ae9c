"""RIPU's losses in a round: their values, what they skip, and that a round without labels does not know them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from adaptation.learning.methods.ripu import boundary_consistency_loss, negative_learning_loss
from adaptation.learning.networks.checkpoints import load_network
from adaptation.learning.networks.layers import resized
from adaptation.learning.rounds.asked_losses import source_boundary_loss, target_losses
from adaptation.learning.rounds.self_training import SelfTraining
from exchange.jobs.recipes import AskedLabelsConfig, SelfTrainingConfig
from exchange.label_space import IGNORE_ID
from tests.rounds.small_round import CONFIG
from tests.rounds.test_round_trainings import crops, mean_probability

LOGITS_NKhw = torch.randn(2, 19, 8, 8, generator=torch.Generator().manual_seed(0))


def asked_labels() -> torch.Tensor:
    asked_NHW = torch.full((2, 32, 32), IGNORE_ID, dtype=torch.uint8)
    asked_NHW[0, 3:6, 3:6] = 11
    asked_NHW[1, 9:12, 20:23] = 2
    return asked_NHW


def test_the_target_learns_the_mean_over_asked_pixels_and_what_no_pixel_is() -> None:
    asked_NHW = asked_labels()
    full = resized(LOGITS_NKhw, (32, 32))
    counted = asked_NHW != IGNORE_ID
    plain = F.cross_entropy(full.movedim(1, -1)[counted], asked_NHW[counted].long())
    expected = 2 * plain + 3 * negative_learning_loss(full.softmax(dim=1))
    config = AskedLabelsConfig(cross_entropy_weight=2, negative_weight=3)
    torch.testing.assert_close(target_losses(config, LOGITS_NKhw, asked_NHW), expected)


def test_crops_without_asked_pixels_leave_negative_learning_alone() -> None:
    nothing_NHW = torch.full((2, 32, 32), IGNORE_ID, dtype=torch.uint8)
    logits = LOGITS_NKhw.clone().requires_grad_()
    found = target_losses(AskedLabelsConfig(), logits, nothing_NHW)
    torch.testing.assert_close(found, negative_learning_loss(resized(logits, (32, 32)).softmax(dim=1)))
    found.backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_the_source_learns_its_boundaries() -> None:
    labels_NHW = torch.from_numpy(crops(0).source.labels_NHW)
    expected = 0.1 * boundary_consistency_loss(resized(LOGITS_NKhw, (64, 64)), labels_NHW)
    torch.testing.assert_close(source_boundary_loss(AskedLabelsConfig(), LOGITS_NKhw, labels_NHW), expected)


@pytest.mark.parametrize("people_labelled", [False, True])
def test_a_round_learns_them_where_people_labelled(start: Path, people_labelled: bool) -> None:
    """A few pixels of a class that nobody else mentions; without the losses, and unmixed, they are hardly seen."""
    torch.set_num_threads(1)
    plain, person = crops(0), 11
    asked_NHW = np.full((2, 64, 64), IGNORE_ID, dtype=np.uint8)
    asked_NHW[:, 8:14, 8:14] = person
    batch = replace(plain, target=replace(plain.target, asked_NHW=asked_NHW))
    settings = SelfTrainingConfig(feature_distance_weight=0.0, asked_pixel_weight=1.0, asked_labels=AskedLabelsConfig())
    learner = SelfTraining(CONFIG, settings, load_network(start), None, None, 20, 5, people_labelled=people_labelled)
    losses = [learner.step(batch, iteration)["loss"] for iteration in range(20)]
    assert np.isfinite(losses).all()
    share = float(mean_probability(learner.student.eval())[person])
    assert (share > 0.1) == people_labelled
