"""The two trainings of a round: they compose to the authors' step, and move the prior the right way, once."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from adaptation.learning.data.crop_stream import LabelledCrops
from adaptation.learning.methods.self_training import MeanTeacher, SelfTrainingBatch, draw_choices, self_training_step
from adaptation.learning.networks.checkpoints import load_network
from adaptation.learning.networks.hrda import HRDA
from adaptation.learning.networks.normalization import normalize
from adaptation.learning.rounds.crops import RoundCrops, TargetCrops
from adaptation.learning.rounds.learning import seed_of
from adaptation.learning.rounds.rectification import HeadRectification
from adaptation.learning.rounds.self_training import CHOICES, DROPOUT, SelfTraining
from adaptation.learning.training.optimization import parameter_groups, rate_factor, set_rates
from exchange.jobs.recipes import SelfTrainingConfig
from exchange.label_space import IGNORE_ID, NUM_CLASSES
from tests.rounds.small_round import CONFIG


def crops(seed: int) -> RoundCrops:
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.choice([0, 2, 10, 13], size=(2, 8, 8)), np.ones((8, 8))).astype(np.uint8)
    images = rng.integers(256, size=(2, 2, 64, 64, 3), dtype=np.uint8)
    nothing = np.full((2, 64, 64), IGNORE_ID, dtype=np.uint8)
    target = TargetCrops(images[1], nothing, np.ones((2, 64, 64), np.uint8))
    return RoundCrops(LabelledCrops(images[0], labels), target)


def test_the_plain_step_is_the_authors(start: Path) -> None:
    """Without rectification, self-labels and asked pixels, a round's step is HRDA's, bit for bit."""
    torch.set_num_threads(1)
    settings, seed, iterations = SelfTrainingConfig(), 5, 10
    learner = SelfTraining(CONFIG, settings, load_network(start), None, None, iterations, seed)
    student = load_network(start).train()
    reference = copy.deepcopy(student.backbone).requires_grad_(False).eval()
    teacher = MeanTeacher(copy.deepcopy(student))
    optimizer = torch.optim.AdamW(parameter_groups(student, CONFIG.learning_rate, CONFIG.weight_decay))
    for iteration in range(2):
        batch = crops(iteration)
        learner.step(batch, iteration)
        images = [normalize(torch.from_numpy(a)) for a in (batch.source.images_NHWC, batch.target.images_NHWC)]
        labels_NHW = torch.from_numpy(batch.source.labels_NHW)
        generator = torch.Generator().manual_seed(seed_of(seed, iteration, CHOICES))
        choices = draw_choices(labels_NHW, CONFIG.detail_hw, generator)
        torch.manual_seed(seed_of(seed, iteration, DROPOUT))
        set_rates(optimizer, rate_factor(iteration, iterations, CONFIG.warmup_iterations))
        pair = SelfTrainingBatch(images[0], labels_NHW, images[1])
        self_training_step(student, teacher, reference, optimizer, pair, choices)
    for mine, theirs in ((learner.student, student), (learner.teacher, teacher)):
        for name, tensor in mine.state_dict().items():
            assert torch.equal(tensor, theirs.state_dict()[name]), name


@pytest.mark.parametrize("favoured", [0, 13])
def test_rectified_outputs_favour_what_the_target_shows_more(start: Path, favoured: int) -> None:
    log_ratio_C = torch.zeros(NUM_CLASSES)
    log_ratio_C[favoured] = 2.0
    shares = {}
    for name, ratio_C in (("plain", torch.zeros(NUM_CLASSES)), ("rectified", log_ratio_C)):
        learner = HeadRectification(CONFIG, load_network(start), ratio_C, 30, 1)
        encoder = copy.deepcopy(learner.network.backbone.state_dict())
        for iteration in range(30):
            learner.step(crops(0).source, iteration)
        shares[name] = mean_probability(learner.network)[favoured]
        for key, tensor in learner.network.backbone.state_dict().items():
            assert torch.equal(tensor, encoder[key]), key
    assert shares["rectified"] > 1.5 * shares["plain"]


def test_what_people_labelled_outweighs_the_teacher(start: Path) -> None:
    person = 11
    plain = crops(0)
    asked = replace(plain, target=replace(plain.target, asked_NHW=np.full((2, 64, 64), person, dtype=np.uint8)))
    shares = []
    for batch in (plain, asked):
        settings = SelfTrainingConfig(feature_distance_weight=0.0)
        learner = SelfTraining(CONFIG, settings, load_network(start), None, None, 20, 5)
        for iteration in range(20):
            learner.step(batch, iteration)
        shares.append(mean_probability(learner.student.eval())[person])
    assert shares[1] > 2 * shares[0]


def test_frozen_statistics_stay_while_weights_move(start: Path) -> None:
    settings = SelfTrainingConfig(frozen_statistics=True)
    learner = SelfTraining(CONFIG, settings, load_network(start), None, None, 5, 5)
    for iteration in range(3):
        learner.step(crops(0), iteration)
    given = load_network(start)
    for network in (learner.student, learner.teacher.network):
        for (name, buffer), (_, kept) in zip(network.named_buffers(), given.named_buffers(), strict=True):
            assert torch.equal(buffer, kept), name
        assert not torch.equal(next(network.parameters()), next(given.parameters()))


@torch.inference_mode()
def mean_probability(network: HRDA) -> Tensor:
    images = normalize(torch.from_numpy(crops(0).target.images_NHWC))
    return network.forward_whole(images, (32, 32), (16, 16)).softmax(dim=1).mean(dim=(0, 2, 3))
