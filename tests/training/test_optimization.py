"""The optimizer's groups, the learning rate and the average of the weights against the authors' reference numbers."""

from pathlib import Path

import pytest
import torch
from torch import nn

from adaptation.learning.networks.checkpoints import CheckpointError, save_network
from adaptation.learning.networks.hrda import build_hrda, build_network
from adaptation.learning.training.errors import TrainingError
from adaptation.learning.training.optimization import WeightAverage, parameter_groups, rate_factor
from adaptation.learning.training.recipes import RECIPES, starter
from adaptation.learning.training.start import freeze_first_stages, start_sha256, starting_network
from exchange.registry.releases import file_sha256


def test_groups_of_mit_b0_are_the_authors() -> None:
    groups = parameter_groups(build_hrda("mit_b0", "daformer"), 1.0, 0.01)
    sizes = {(group["lr"], group["weight_decay"]): len(group["params"]) for group in groups}
    assert sizes == {(10.0, 0.01): 47, (1.0, 0.0): 60, (1.0, 0.01): 116}


def test_batch_norms_of_a_convolutional_encoder_are_not_decayed() -> None:
    network = build_hrda("efficientnet_lite0", "light")
    undecayed = next(group for group in parameter_groups(network, 1e-4, 0.01) if group["weight_decay"] == 0.0)
    norms = [m for m in network.backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {id(p) for p in undecayed["params"]} == {id(p) for m in norms for p in m.parameters()}


@pytest.mark.parametrize(
    ("iteration", "rate"),
    [
        (0, 6.000000000172534e-11),
        (1, 4.0058958501000673e-08),
        (10, 3.9995958510000454e-07),
        (750, 2.9437529437500005e-05),
        (1499, 5.7712999038501e-05),
        (1500, 5.775e-05),
        (20000, 3e-05),
        (39999, 1.5000000000031654e-09),
    ],
)
def test_the_rate_warms_up_and_decays_as_the_authors(iteration: int, rate: float) -> None:
    assert 6e-5 * rate_factor(iteration, 40_000, 1500) == pytest.approx(rate, rel=1e-9)


def test_the_average_starts_from_the_first_weights_and_slows_down() -> None:
    network = nn.BatchNorm1d(1)
    average = WeightAverage(network, decay=0.75)
    seen = []
    for iteration in range(6):
        with torch.no_grad():
            network.weight.fill_(iteration)
            network.running_mean.fill_(10.0 * iteration)
        average.update(iteration)
        seen.append(float(average.state["weight"]))
    # steps of 1, 1/2, 1/3, then 1/4 for good
    assert seen == pytest.approx([0, 0.5, 1, 1.5, 2.125, 2.84375])
    assert float(average.state["running_mean"]) == pytest.approx(28.4375)
    assert set(average.state) == {"weight", "bias", "running_mean", "running_var"}


def test_without_decay_the_average_is_the_last_weights() -> None:
    network = nn.Linear(3, 3)
    average = WeightAverage(network, decay=0.0)
    with torch.no_grad():
        network.weight.normal_()
    average.update(7)
    assert torch.equal(average.state["weight"], network.weight)


def test_every_recipe_is_valid_and_named_by_its_function() -> None:
    for name, recipe in RECIPES.items():
        config = recipe()
        assert config.recipe == name
        assert type(config).model_validate_json(config.model_dump_json()) == config
    hrda = RECIPES["hrda_mit_b5"]()
    assert hrda.crop_settings("gta5").fit_hw == (1440, 2560)
    assert hrda.crop_settings("cityscapes").fit_hw == (1024, 2048)


def test_frozen_stages_neither_learn_nor_move_their_statistics() -> None:
    network = build_hrda("efficientnet_lite0", "light")
    freeze_first_stages(network, 2)
    frozen = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    first = ("backbone.stem.", "backbone.stages.0.", "backbone.stages.1.")
    assert frozen == {name for name, _ in network.named_parameters() if name.startswith(first)}
    assert not network.backbone.stages[1].training
    assert network.backbone.stages[2].training
    with pytest.raises(TrainingError, match="is for encoder efficientnet_lite0"):
        freeze_first_stages(build_hrda("mit_b0", "light"), 2)


def test_a_training_starts_from_imagenet_a_network_or_encoder_weights(tmp_path: Path) -> None:
    config = starter()
    pretrained = starting_network(config, 0, None).state_dict()
    fresh = build_network(config.network)
    assert not torch.equal(pretrained["backbone.stem.conv.weight"], fresh.backbone.stem.conv.weight)
    save_network(tmp_path / "net", config.network, fresh.state_dict())
    from_folder = starting_network(config, 0, tmp_path / "net").state_dict()
    assert all(torch.equal(from_folder[name], tensor) for name, tensor in fresh.state_dict().items())
    torch.save({"state_dict": fresh.backbone.state_dict() | {"head.weight": torch.zeros(1)}}, tmp_path / "encoder.pth")
    from_file = starting_network(config, 0, tmp_path / "encoder.pth").backbone.state_dict()
    assert all(torch.equal(from_file[name], tensor) for name, tensor in fresh.backbone.state_dict().items())
    plain = RECIPES["starter_no_detail"]()
    with pytest.raises(TrainingError, match="but the recipe trains"):
        starting_network(plain, 0, tmp_path / "net")
    with pytest.raises(CheckpointError, match="does not exist"):
        starting_network(plain, 0, tmp_path / "nothing.pth")
    torch.save({"state_dict": {"other": torch.zeros(1)}}, tmp_path / "other.pth")
    with pytest.raises(TrainingError, match="does not hold this recipe's encoder") as refusal:
        starting_network(plain, 0, tmp_path / "other.pth")
    assert len(str(refusal.value)) < 400, "only the first of hundreds of weights are named"
    torch.save([1], tmp_path / "list.pth")
    (tmp_path / "notes.txt").write_text("notes")
    for name in ("list.pth", "notes.txt"):
        with pytest.raises(CheckpointError, match=name):
            starting_network(plain, 0, tmp_path / name)
    assert start_sha256(tmp_path / "net") == file_sha256(tmp_path / "net" / "weights.safetensors")
    assert start_sha256(tmp_path / "other.pth") == file_sha256(tmp_path / "other.pth")
