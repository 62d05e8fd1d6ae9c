"""The last training of a round: a small network learns the adapted one's labels, and ships."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from adaptation.learning.networks.checkpoints import load_network, load_network_config
from adaptation.learning.networks.hrda import HRDA
from adaptation.learning.networks.normalization import normalize
from adaptation.learning.rounds.distillation import Distillation
from adaptation.learning.rounds.report import Report
from adaptation.learning.rounds.run import adapt
from exchange.jobs.recipes import DistillationConfig
from tests.rounds import small_round as small
from tests.rounds.test_round_trainings import crops

SETTINGS = DistillationConfig(iterations=30)
CONFIG = small.CONFIG.model_copy(
    update={
        "rectified_share": 1.0,
        "self_training": None,
        "budget": 1,
        "distillation": DistillationConfig(iterations=2),
    }
)


@torch.no_grad()
def probabilities(network: HRDA) -> torch.Tensor:
    images = normalize(torch.from_numpy(crops(0).target.images_NHWC))
    return network.eval().forward_whole(images, (32, 32), (16, 16)).softmax(dim=1)


def test_the_student_comes_to_label_as_its_teacher_does(start: Path, plain_start: Path) -> None:
    torch.set_num_threads(1)
    teacher = load_network(start)
    with torch.no_grad():
        teacher.decode_head.head.conv_seg.bias[11] += 4  # type: ignore[operator, index, union-attr]
    learner = Distillation(small.CONFIG, SETTINGS, teacher, load_network(plain_start), seed=3)
    before = float(probabilities(learner.student)[:, 11].mean())
    learner.student.train()
    losses = [learner.step(crops(0).target, iteration)["loss"] for iteration in range(SETTINGS.iterations)]
    assert np.isfinite(losses).all()
    assert losses[-1] < 0.7 * losses[0]
    assert float(probabilities(learner.student)[:, 11].mean()) > 4 * before


def test_a_round_ships_the_small_network(start: Path, plain_start: Path, day: Path, dusk: Path, tmp_path: Path) -> None:
    round_ = replace(small.small_round(start, day, dusk, tmp_path / "out", CONFIG), student=plain_start)
    report = Report.read(adapt(round_, small.ignore))
    assert report.network.ships == "small network"
    assert report.network.iterations == 3
    assert [point["iteration"] for point in report.histories["teaching the small network"]] == [1, 2]
    assert load_network_config(tmp_path / "out" / "network") == load_network_config(plain_start)
    shipped, given = load_network(tmp_path / "out" / "network"), load_network(plain_start)
    assert not torch.equal(next(shipped.parameters()), next(given.parameters()))


@pytest.mark.parametrize("config", [CONFIG, small.CONFIG])
def test_a_small_network_belongs_to_a_recipe_that_teaches_one(
    config: object, start: Path, plain_start: Path, day: Path, dusk: Path, tmp_path: Path
) -> None:
    round_ = replace(
        small.small_round(start, day, dusk, tmp_path / "out"),
        config=config,
        student=None if config is CONFIG else plain_start,
    )
    with pytest.raises(ValueError, match="see --student"):
        adapt(round_, small.ignore)
