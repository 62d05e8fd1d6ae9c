"""Official checkpoints in every layout, and what is refused."""

import json
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from adaptation.learning.networks.checkpoints import CheckpointError, load_network, save_network
from adaptation.learning.networks.hrda import HRDA, build_hrda, build_network
from adaptation.learning.networks.official_checkpoints import import_checkpoint
from exchange.label_space import CLASS_NAMES
from exchange.networks import NetworkConfig
from exchange.storage.whole_folder import FolderTaken

META = {"iter": 40000, "CLASSES": CLASS_NAMES, "PALETTE": [[0, 0, 0]] * 19, "config": "model = dict()"}


def prefixed(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return OrderedDict((prefix + key, tensor) for key, tensor in state.items())


def stored(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def assert_same_state(network: HRDA, state: dict[str, Tensor]) -> None:
    assert not network.training
    ours = network.state_dict()
    assert list(ours) == list(state)
    for key, tensor in state.items():
        assert torch.equal(ours[key], tensor), key


@pytest.mark.parametrize("layout", ["published", "released", "training", "bare"])
def test_layouts(layout: str, tiny: HRDA, tiny_dims: dict, tmp_path: Path) -> None:
    state = tiny.state_dict()
    content = {
        "published": {"state_dict": prefixed(state, "model.")},
        "released": {"state_dict": prefixed(state, "module.model."), "meta": META},
        "training": {
            "state_dict": prefixed(state, "model.") | prefixed(state, "ema_model.") | prefixed(state, "imnet_model."),
            "meta": META,
            "optimizer": {"state": {}},
        },
        "bare": {"state_dict": state},
    }[layout]
    imported = import_checkpoint(stored(tmp_path / "file.pth", content), tmp_path / "network")
    described = layout in ("released", "training")
    assert imported.layout == layout
    assert imported.verified
    assert imported.iteration == (40000 if described else None)
    assert imported.classes == (META["CLASSES"] if described else None)
    assert imported.config == NetworkConfig(encoder="mit_custom", head="daformer", dims=tiny_dims)
    assert_same_state(load_network(tmp_path / "network"), state)


def test_the_authors_own_file(tiny: HRDA, reference_folder: Path, tmp_path: Path) -> None:
    imported = import_checkpoint(reference_folder / "tiny_det_released.pth", tmp_path)
    assert (imported.layout, imported.iteration, imported.classes[:2]) == ("released", 40000, ("road", "sidewalk"))
    assert_same_state(load_network(tmp_path), tiny.state_dict())
    provenance = json.loads((tmp_path / "network.json").read_text())["provenance"]
    assert provenance["file"] == "tiny_det_released.pth"
    assert len(provenance["sha256"]) == 64


def test_the_teacher_is_taken_on_request(tiny: HRDA, tmp_path: Path) -> None:
    state = tiny.state_dict()
    teacher = {key: tensor + 1 for key, tensor in state.items()}
    content = {"state_dict": prefixed(state, "model.") | prefixed(teacher, "ema_model.")}
    imported = import_checkpoint(stored(tmp_path / "file.pth", content), tmp_path / "network", teacher=True)
    assert imported.teacher
    assert_same_state(load_network(tmp_path / "network"), teacher)
    published = stored(tmp_path / "published.pth", {"state_dict": prefixed(state, "model.")})
    with pytest.raises(CheckpointError, match="no teacher"):
        import_checkpoint(published, tmp_path / "other", teacher=True)


@pytest.mark.parametrize(
    ("encoder", "head", "dims"),
    [
        ("mit_b0", "daformer", {}),
        ("resnet101_v1c", "deeplabv2", {}),
        ("resnet101_v1c", "deeplabv2", {"depths": (1, 2, 1, 1), "base_channels": 8}),
        ("resnet101_v1c", "daformer", {"depths": (1, 1, 1, 1), "base_channels": 8, "channels": 16}),
    ],
)
def test_the_network_is_recognised(encoder: str, head: str, dims: dict, tmp_path: Path) -> None:
    config = NetworkConfig(encoder=encoder, head=head, num_classes=7, dims=dims)
    path = stored(tmp_path / "file.pth", {"state_dict": prefixed(build_network(config).state_dict(), "model.")})
    assert import_checkpoint(path, tmp_path / "network").config == config


def test_daformer_is_the_context_at_full_resolution_and_unverified(tiny_dims: dict, tmp_path: Path) -> None:
    dims = {name: value for name, value in tiny_dims.items() if name != "attention_channels"}
    state = build_hrda("mit_custom", "daformer", detail=False, context_divisor=1, **dims).state_dict()
    flat = {key.replace("decode_head.head.", "decode_head."): tensor for key, tensor in state.items()}
    imported = import_checkpoint(stored(tmp_path / "f.pth", {"state_dict": prefixed(flat, "model.")}), tmp_path / "n")
    assert not imported.verified
    assert not imported.config.detail
    assert imported.config.dims["context_divisor"] == 1
    assert_same_state(load_network(tmp_path / "n"), state)


def test_what_does_not_fit_is_named(tiny: HRDA, tmp_path: Path) -> None:
    state = dict(tiny.state_dict())
    del state["decode_head.head.conv_seg.bias"]
    state["backbone.norm1.weight"] = torch.zeros(9)
    state["backbone.extra"] = torch.zeros(1)
    path = stored(tmp_path / "file.pth", {"state_dict": prefixed(state, "model.")})
    with pytest.raises(CheckpointError) as refusal:
        import_checkpoint(path, tmp_path / "network")
    for part in (
        "decode_head.head.conv_seg.bias (19,) is missing",
        "backbone.extra (1,) is not part",
        "backbone.norm1.weight is (9,), not (8,)",
    ):
        assert part in str(refusal.value)
    assert not (tmp_path / "network").exists()


class Code:
    def __reduce__(self) -> tuple:
        return print, ("code ran",)


def test_files_that_are_no_checkpoint(tmp_path: Path, tiny: HRDA, capsys: pytest.CaptureFixture[str]) -> None:
    whole = stored(tmp_path / "whole.pth", {"state_dict": prefixed(tiny.state_dict(), "model.")}).read_bytes()
    files = {
        "code.pth": pickle.dumps({"state_dict": {"model.x": Code()}}),
        "cut.pth": whole[: len(whole) // 2],
        "text.pth": b"not a checkpoint",
        "empty.pth": b"",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match="cannot be read"):
            import_checkpoint(tmp_path / name, tmp_path / "network")
    assert "code ran" not in capsys.readouterr().out
    for content, message in (
        ([1, 2], "not a checkpoint's dictionary"),
        ({"state_dict": [1]}, "no state_dict"),
        ({"state_dict": {"model.a": 1}}, "a is not a tensor"),
        ({"state_dict": {}}, "its state_dict is empty"),
        ({"state_dict": {"a": torch.zeros(1)}}, "no HRDA or DAFormer network"),
        (
            {"state_dict": {"backbone.stem.0.weight": torch.zeros(1), "backbone.stem.6.weight": torch.tensor(1)}},
            "known",
        ),
    ):
        with pytest.raises(CheckpointError, match=message):
            import_checkpoint(stored(tmp_path / "odd.pth", content), tmp_path / "network")
    with pytest.raises(CheckpointError, match="does not exist"):
        import_checkpoint(tmp_path / "absent.pth", tmp_path / "network")
    with pytest.raises(CheckpointError, match="is a folder"):
        import_checkpoint(tmp_path, tmp_path / "network")
    without_classifier = {key: tensor for key, tensor in tiny.state_dict().items() if "head.conv_seg" not in key}
    with pytest.raises(CheckpointError, match=r"decode_head.head.conv_seg.weight' is missing"):
        import_checkpoint(stored(tmp_path / "odd.pth", {"state_dict": without_classifier}), tmp_path / "network")
    assert not (tmp_path / "network").exists()


def test_code_in_a_file_is_named_and_nobody_is_told_to_run_it(tmp_path: Path) -> None:
    path = stored(tmp_path / "file.pth", {"state_dict": {"model.x": Code()}})
    with pytest.raises(CheckpointError, match=r"Python objects \(print\), which are never loaded") as refusal:
        import_checkpoint(path, tmp_path / "network")
    assert "weights_only" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "classes",
    [
        *(("road",), (), tuple(range(19)), 19, "road", {"road": 1}, [*CLASS_NAMES, "x"]),
        {name: [output] for output, name in enumerate(CLASS_NAMES)},
        {output: [name] for output, name in enumerate(CLASS_NAMES)},
        [[name] for name in CLASS_NAMES],
    ],
)
def test_classes_must_match(classes: Any, tiny: HRDA, tmp_path: Path) -> None:
    content = {"state_dict": prefixed(tiny.state_dict(), "model."), "meta": {"CLASSES": classes}}
    with pytest.raises(CheckpointError, match="predicts 19 classes but names"):
        import_checkpoint(stored(tmp_path / "file.pth", content), tmp_path / "network")
    assert not (tmp_path / "network").exists()


def test_an_iteration_that_is_no_number_is_unknown(tiny: HRDA, tmp_path: Path) -> None:
    content = {"state_dict": prefixed(tiny.state_dict(), "model."), "meta": {"iter": torch.zeros(())}}
    assert import_checkpoint(stored(tmp_path / "file.pth", content), tmp_path / "network").iteration is None


def test_nothing_is_imported_over_a_folder_that_holds_something(tiny: HRDA, tmp_path: Path) -> None:
    path = stored(tmp_path / "file.pth", {"state_dict": tiny.state_dict()})
    (tmp_path / "trained").mkdir()
    (tmp_path / "trained" / "training.json").write_text("{}")
    for taken in (tmp_path / "trained", path):
        with pytest.raises(FolderTaken, match="name another folder"):
            import_checkpoint(path, taken)
    assert [file.name for file in (tmp_path / "trained").iterdir()] == ["training.json"]


def test_other_classes_may_be_kept_but_not_used(tmp_path: Path, tiny_dims: dict) -> None:
    state = build_hrda("mit_custom", "daformer", 16, **tiny_dims).state_dict()
    path = stored(tmp_path / "file.pth", {"state_dict": state})
    assert import_checkpoint(path, tmp_path / "network").config.num_classes == 16
    with pytest.raises(CheckpointError, match="16 classes, not the 19"):
        load_network(tmp_path / "network")


def test_weights_must_be_finite(tiny: HRDA, tmp_path: Path) -> None:
    state = dict(tiny.state_dict()) | {"backbone.norm1.weight": torch.full((8,), torch.nan)}
    with pytest.raises(CheckpointError, match=r"no numbers, backbone.norm1.weight first"):
        import_checkpoint(stored(tmp_path / "file.pth", {"state_dict": state}), tmp_path / "network")


def test_a_stored_network_comes_back(tmp_path: Path) -> None:
    config = NetworkConfig(encoder="efficientnet_lite0", head="light", dims={"channels": 24})
    network = build_network(config).eval()
    save_network(tmp_path, config, network.state_dict(), {"round": 3})
    assert_same_state(load_network(tmp_path), network.state_dict())
    (tmp_path / "weights.safetensors").write_bytes(b"broken")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_network(tmp_path)
    (tmp_path / "network.json").write_text("{}")
    with pytest.raises(CheckpointError, match="does not describe a network"):
        load_network(tmp_path)
    with pytest.raises(CheckpointError, match=r"network.json is missing"):
        load_network(tmp_path / "nowhere")
