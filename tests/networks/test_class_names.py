"""Checkpoints that name their classes in another order, or name other classes."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner

import cli
from adaptation.learning.networks.checkpoints import CheckpointError, load_network
from adaptation.learning.networks.class_names import reordered
from adaptation.learning.networks.hrda import HRDA, build_hrda, build_network
from adaptation.learning.networks.official_checkpoints import ImportedCheckpoint, import_checkpoint
from exchange.label_space import CLASS_NAMES
from exchange.networks import Head, NetworkConfig

REVERSED = CLASS_NAMES[::-1]


def with_outputs(network: HRDA, order: list[int]) -> dict[str, Tensor]:
    """The state with the outputs in another order, written out layer by layer."""
    state = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    for key, tensor in state.items():
        if key.endswith((".conv_seg.weight", ".conv_seg.bias")):
            state[key] = tensor[order]
    return state


def imported(folder: Path, state: dict[str, Tensor], **content: Any) -> ImportedCheckpoint:
    prefixed = {f"model.{key}": tensor for key, tensor in state.items()}
    torch.save({"state_dict": prefixed, **content}, folder / "file.pth")
    return import_checkpoint(folder / "file.pth", folder / "network")


def test_another_order_is_brought_into_that_of_the_train_ids(tiny: HRDA, tmp_path: Path) -> None:
    order = torch.randperm(19, generator=torch.Generator().manual_seed(0)).tolist()
    names = [CLASS_NAMES[k] for k in order]
    kept = imported(tmp_path, with_outputs(tiny, order), meta={"CLASSES": names})
    assert (kept.classes, kept.reordered) == (CLASS_NAMES, True)
    network = load_network(tmp_path / "network")
    for key, tensor in tiny.state_dict().items():
        assert torch.equal(network.state_dict()[key], tensor), key
    images = torch.rand(1, 3, 64, 128, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        straight, ours = (each.forward_whole(images, (32, 32), (32, 32)) for each in (tiny, network))
    torch.testing.assert_close(straight, ours, atol=1e-5, rtol=1e-5)
    provenance = json.loads((tmp_path / "network" / "network.json").read_text())["provenance"]
    assert provenance["classes"] == list(CLASS_NAMES)


@pytest.mark.parametrize(
    "content",
    [
        {"meta": {"CLASSES": REVERSED}},
        {"meta": {"classes": list(REVERSED)}},
        {"meta": {"dataset_meta": {"classes": REVERSED}}},
        {"meta": {"METAINFO": {"classes": REVERSED}}},
        {"meta": {"dataset_meta": {"CLASSES": list(REVERSED)}, "CLASSES": None}},
        {"dataset_meta": {"classes": REVERSED}},
        {"CLASSES": REVERSED},
        {"meta": {"CLASSES": dict(enumerate(REVERSED))}},
        {"meta": {"CLASSES": {name: place for place, name in enumerate(REVERSED)}}},
        {"meta": {"CLASSES": [name.upper().replace(" ", "_") for name in REVERSED]}},
        {"meta": {"CLASSES": [name.title().replace(" ", "-") for name in REVERSED]}},
        {"meta": {"CLASSES": ("bike", "motorbike", *REVERSED[2:7], "Pedestrian", *REVERSED[8:])}},
        {"meta": {"CLASSES": REVERSED, "dataset_meta": {"classes": [name.upper() for name in REVERSED]}}},
    ],
    ids=lambda content: str(content)[:60],
)
def test_names_are_found_and_understood_in_every_form(content: dict, tiny: HRDA, tmp_path: Path) -> None:
    assert imported(tmp_path, with_outputs(tiny, list(range(19))[::-1]), **content).reordered
    bias = "decode_head.head.conv_seg.bias"
    assert torch.equal(load_network(tmp_path / "network").state_dict()[bias], tiny.state_dict()[bias])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            {"meta": {"CLASSES": ("paved", *(f"facade {k}" for k in range(18)))}},
            r"it has 'paved', 'facade 0'.* lacks 'road', 'sidewalk'",
        ),
        ({"meta": {"dataset_meta": {"classes": ("paved", *CLASS_NAMES[1:])}}}, "it has 'paved' and lacks 'road';"),
        ({"dataset_meta": {"classes": ("paved", *CLASS_NAMES[1:])}}, "it has 'paved' and lacks 'road';"),
        ({"meta": {"CLASSES": ("Sidewalk", *CLASS_NAMES[1:])}}, "a class twice: 'Sidewalk', 'sidewalk'"),
        ({"meta": {"CLASSES": ("bike", *CLASS_NAMES[1:])}}, "a class twice: 'bike', 'bicycle'"),
        ({"meta": {"CLASSES": CLASS_NAMES[1:]}}, "predicts 19 classes but names 18"),
        ({"meta": {"CLASSES": REVERSED, "dataset_meta": {"classes": CLASS_NAMES}}}, "in two ways"),
        ({"meta": {"CLASSES": {k + 1: name for k, name in enumerate(CLASS_NAMES)}}}, "no list of class names"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_other_doubled_and_missing_classes_are_refused_by_name(
    content: dict, told: str, tiny: HRDA, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=told) as refusal:
        imported(tmp_path, tiny.state_dict(), **content)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "network").exists()


def test_names_of_another_number_of_classes_are_checked_and_kept(tmp_path: Path, tiny_dims: dict) -> None:
    state = build_hrda("mit_custom", "daformer", 3, **tiny_dims).state_dict()
    kept = imported(tmp_path, state, meta={"CLASSES": ["car", "road", "x"]})
    assert (kept.classes, kept.reordered) == (("car", "road", "x"), False)
    (tmp_path / "two").mkdir()
    with pytest.raises(CheckpointError, match="a class twice: 'car', 'Car'"):
        imported(tmp_path / "two", state, meta={"CLASSES": ["car", "Car", "x"]})


@pytest.mark.parametrize("head", ["daformer", "deeplabv2", "light", "modified_aspp"])
def test_every_head_is_reordered_in_all_its_classifiers(head: Head) -> None:
    dims = {"depths": (1, 1, 1, 1), "base_channels": 8}
    config = NetworkConfig(encoder="resnet101_v1c", head=head, dims=dims)
    straight, moved = build_network(config).eval(), build_network(config).eval()
    order = list(range(19))[::-1]
    moved.load_state_dict(reordered(config, straight.state_dict(), order))
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        first, second = (each.forward_whole(images, (64, 64), (64, 64)) for each in (straight, moved))
    torch.testing.assert_close(second, first[:, order])


def test_a_network_that_was_kept_in_another_order_is_not_used(tiny: HRDA, tmp_path: Path) -> None:
    imported(tmp_path, tiny.state_dict(), meta={"CLASSES": CLASS_NAMES})
    file = tmp_path / "network" / "network.json"
    described = json.loads(file.read_text())
    for names in (list(REVERSED), ["road"], [1], 3):
        described["provenance"]["classes"] = names
        file.write_text(json.dumps(described))
        with pytest.raises(CheckpointError, match=r"network\.json"):
            load_network(tmp_path / "network")


def test_the_commands_import_and_score_a_reordered_network_like_the_straight_one(tiny: HRDA, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for folder in ("images", "labels"):
        (data / folder).mkdir(parents=True)
    Image.effect_noise((128, 64), 60).convert("RGB").save(data / "images" / "1.png")
    ids = torch.tensor([7, 8, 11, 21, 23, 26]).repeat_interleave(22)[:128].repeat(64, 1)
    Image.fromarray(ids.to(torch.uint8).numpy()).save(data / "labels" / "1.png")
    scores = {}
    for name, names, order in (("straight", CLASS_NAMES, range(19)), ("reversed", REVERSED, range(18, -1, -1))):
        state = {f"model.{key}": tensor for key, tensor in with_outputs(tiny, [*order]).items()}
        torch.save({"state_dict": state, "meta": {"CLASSES": names}}, tmp_path / f"{name}.pth")
        said = run("import-checkpoint", tmp_path / f"{name}.pth", "--out", tmp_path / name)
        assert ("another order" in said) == (name == "reversed")
        assert "classes (19): road, sidewalk" in said
        json_file = tmp_path / f"{name}.json"
        run("evaluate", tmp_path / name, "--data", data, "--frame-size", "64x128", "--json", json_file)
        scores[name] = json.loads(json_file.read_text())
    assert scores["straight"] == scores["reversed"]
    assert sum(scores["straight"]["true_pixels"].values()) == 64 * 128


def run(*arguments: object) -> str:
    words = [*map(str, arguments)]
    result = CliRunner().invoke(cli.app_for(words), words)
    assert result.exit_code == 0, result.output
    return result.output
