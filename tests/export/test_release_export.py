"""A release is written whole, or not at all, and its engine is held against its weights."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from adaptation.learning.export.build_tensorrt import TensorRTError
from adaptation.learning.export.engines import load_engine
from adaptation.learning.export.graph import reference_graph
from adaptation.learning.export.loaded_engine import FrameOutputs, run_eagerly
from adaptation.learning.export.outputs import Outputs
from adaptation.learning.export.parity import Parity, compare_with_reference, measure_parity
from adaptation.learning.export.release import ExportSettings, ParityError, SourceStatistics, export_release
from adaptation.learning.export.source_presence import measure_source_presence
from adaptation.learning.export.street_frames import street_frames
from adaptation.learning.networks.checkpoints import save_network
from adaptation.learning.networks.hrda import HRDA, build_network
from cli import app_for
from exchange.images.frame_fitting import fit_frame
from exchange.networks import NetworkConfig, whole_frame_windows
from exchange.registry.releases import (
    MANIFEST_NAME,
    Engine,
    Manifest,
    Precision,
    ReleaseError,
    read_manifest,
    verify_release,
)
from exchange.storage.whole_folder import FolderTaken

FRAME_SIZE = (64, 128)
WINDOWS = whole_frame_windows(FRAME_SIZE)
STATISTICS = SourceStatistics.of_labels(np.full((4, 19), 100))


def settings(
    engine: Engine = "openvino",
    precision: Precision = "fp32",
    frame_size: tuple[int, int] = FRAME_SIZE,
    *,
    half_weights: bool = False,
) -> ExportSettings:
    return ExportSettings(engine, precision, frame_size, whole_frame_windows(frame_size), half_weights)


def export(network_dir: Path, out: Path, chosen: ExportSettings) -> Manifest:
    return export_release(network_dir, out, chosen, STATISTICS, street_frames(FRAME_SIZE))[0]


@pytest.fixture(scope="module")
def network_dir(
    tmp_path_factory: pytest.TempPathFactory, small_network: Callable[[str], tuple[NetworkConfig, HRDA]]
) -> Path:
    folder = tmp_path_factory.mktemp("network")
    config, network = small_network("mit, light")
    save_network(folder, config, network.state_dict())
    return folder


@pytest.fixture(scope="module")
def openvino_release(tmp_path_factory: pytest.TempPathFactory, network_dir: Path) -> Path:
    """For reading only."""
    out = tmp_path_factory.mktemp("exported") / "release"
    assert export(network_dir, out, settings(half_weights=True)) == verify_release(out)
    assert [path.name for path in out.parent.iterdir()] == ["release"]
    return out


@pytest.fixture
def release_copy(openvino_release: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(openvino_release, tmp_path / "release"))


def test_a_release_labels_frames(
    openvino_release: Path, random_inputs: Callable[[tuple[int, int]], dict[str, Any]]
) -> None:
    labels = load_engine(openvino_release, threads=1).infer(**random_inputs(FRAME_SIZE)).label_HW
    assert labels.shape == FRAME_SIZE
    assert len(np.unique(labels)) > 1


def test_weights_may_be_rounded_to_half_the_space(openvino_release: Path, network_dir: Path) -> None:
    rounded, full = (load_file(folder / "weights.safetensors") for folder in (openvino_release, network_dir))
    assert {tensor.dtype for tensor in rounded.values()} <= {torch.float16, torch.int64}
    assert all(torch.equal(rounded[name], tensor.to(rounded[name].dtype)) for name, tensor in full.items())


def test_source_presence_is_what_the_engine_sees(openvino_release: Path) -> None:
    manifest = read_manifest(openvino_release)
    assert manifest.source_presence is None, "it was exported without source frames"
    thresholds = [0.0, *manifest.source_pixel_frequency[1:]]
    manifest = manifest.model_copy(update={"source_pixel_frequency": thresholds})
    frames = [fit_frame(np.full((64, 128, 3), 8 * level, np.uint8), FRAME_SIZE) for level in range(32)]
    engine = load_engine(openvino_release)
    seen_NK = np.stack([engine.infer(frame).presence_K > thresholds for frame, _ in frames])
    measured = measure_source_presence(openvino_release, manifest, frames)
    assert measured is not None
    assert measured[0] == 0.0, "a class without source pixels is seen nowhere"
    np.testing.assert_allclose(measured[1:], seen_NK.mean(axis=0)[1:])
    assert 0 < sum(measured) < 18
    assert measure_source_presence(openvino_release, manifest, frames[:31]) is None


@pytest.mark.parametrize("name", ["engine/model.bin", "weights.safetensors"])
def test_an_altered_release_is_refused(name: str, release_copy: Path) -> None:
    with (release_copy / name).open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    with pytest.raises(ReleaseError, match=name):
        load_engine(release_copy)


def test_an_edited_manifest_is_noticed(release_copy: Path) -> None:
    manifest = release_copy / MANIFEST_NAME
    manifest.write_text(manifest.read_text().replace('"fp32"', '"bf16"'))
    status, output = run("parity", release_copy)
    assert status == 1
    assert "manifest.json was changed" in output


def test_an_engine_of_other_weights_fails_parity(release_copy: Path) -> None:
    weights = load_file(release_copy / "weights.safetensors")
    save_file(
        {key: tensor.flip(0).contiguous() for key, tensor in weights.items()}, release_copy / "weights.safetensors"
    )
    parity = measure_parity(release_copy, read_manifest(release_copy), street_frames(FRAME_SIZE), lambda _: None)
    assert not parity.passes
    assert parity.logit_error is not None
    assert parity.logit_error > 0.1


def test_every_part_of_the_contract_is_judged() -> None:
    labels_HW = np.zeros((64, 128), np.uint8)
    share_K = np.full(19, 1 / 19, np.float32)
    truth = FrameOutputs(labels_HW, labels_HW, share_K, share_K)
    near = truth._replace(confidence_HW=labels_HW + 2, presence_K=share_K + 1e-4)
    for ours, logits, failures in (
        (near, 10.05, ()),
        (truth._replace(label_HW=labels_HW + 1), 10, ("100.000 % of the labels", "the labels of a class")),
        (truth._replace(confidence_HW=labels_HW + 3), 10, ("CONFIDENCE",)),
        (truth._replace(presence_K=share_K + 0.01), 10, ("PRESENCE or MEAN_PROBABILITY",)),
        (truth._replace(mean_probability_K=share_K * np.nan), 10, ("PRESENCE or MEAN_PROBABILITY",)),
        (truth, 10.2, ("the logits",)),
        (truth, np.nan, ("the logits",)),
    ):
        parity = Parity("fp32")
        parity.add(ours, truth)
        parity.add_logits(np.full((1, 19, 2, 2), logits, np.float32), np.full((1, 19, 2, 2), 10, np.float32))
        assert parity.failures == failures
        assert parity.passes == (not failures)


@pytest.mark.parametrize("ignored", ["LOG_PRIOR_RATIO", "VALID_HW"])
def test_an_engine_that_ignores_an_input_fails(
    ignored: str, small_network: Callable[[str], tuple[NetworkConfig, HRDA]]
) -> None:
    graph = reference_graph(small_network("efficientnet, light, no detail")[1], FRAME_SIZE, WINDOWS)

    def deaf(frame_HW3: torch.Tensor, ratio_K: torch.Tensor, valid_hw: torch.Tensor) -> Outputs:
        if ignored == "LOG_PRIOR_RATIO":
            return graph(frame_HW3, torch.zeros_like(ratio_K), valid_hw)
        return graph(frame_HW3, ratio_K, torch.tensor(FRAME_SIZE, dtype=torch.int32))

    for module, passes in ((graph, True), (deaf, False)):
        frames = street_frames(FRAME_SIZE, 1)
        parity = compare_with_reference(run_eagerly(module), None, graph, "fp32", frames, lambda _: None)
        assert parity.passes == passes


def test_a_torch_engine_shows_its_logits(
    tmp_path: Path, small_network: Callable[[str], tuple[NetworkConfig, HRDA]]
) -> None:
    config, network = small_network("efficientnet, light, no detail")
    save_network(tmp_path / "network", config, network.state_dict())
    _, parity = export_release(
        tmp_path / "network", tmp_path / "release", settings("torch"), STATISTICS, street_frames(FRAME_SIZE, 2)
    )
    assert parity.logit_error is not None
    assert parity.logit_error < 1e-3 < parity.largest_logit


def test_onnx_is_written_once_it_agrees(network_dir: Path, tmp_path: Path) -> None:
    arguments = ["export", str(network_dir), "--out", str(tmp_path / "release"), "--frame-size", "64x128"]
    status, output = run(*arguments, "--onnx", tmp_path / "graph.onnx", "--limit", 1)
    assert "1 frame, fp32: passes" in output
    assert status == 1, "the network has no record of its source, so that there is no release"
    assert [path.name for path in tmp_path.iterdir()] == ["graph.onnx"]


def test_a_release_is_never_overwritten(network_dir: Path, openvino_release: Path) -> None:
    before = (openvino_release / MANIFEST_NAME).read_bytes()
    with pytest.raises(FolderTaken, match="nothing is written over it"):
        export(network_dir, openvino_release, settings())
    assert (openvino_release / MANIFEST_NAME).read_bytes() == before


def test_what_cannot_be_built_leaves_nothing(network_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="64x128"):
        export(network_dir, tmp_path / "release", settings(frame_size=(60, 128)))
    with pytest.raises(TensorRTError, match="pip install"):
        export(network_dir, tmp_path / "release", settings("tensorrt"))
    assert list(tmp_path.iterdir()) == []


def test_an_engine_that_differs_leaves_nothing(
    tmp_path: Path, small_network: Callable[[str], tuple[NetworkConfig, HRDA]]
) -> None:
    """A fresh classifier's logits are nearly equal, so that bfloat16 decides many labels by its rounding."""
    config = small_network("mit, light")[0]
    torch.manual_seed(0)
    save_network(tmp_path / "network", config, build_network(config).state_dict())
    with pytest.raises(ParityError, match="nothing was written"):
        export(tmp_path / "network", tmp_path / "release", settings("torch", "bf16"))
    assert [path.name for path in tmp_path.iterdir()] == ["network"]


def test_a_network_without_record_asks_for_its_source(network_dir: Path) -> None:
    with pytest.raises(ReleaseError, match="--data"):
        SourceStatistics.of_training(network_dir)


def run(*arguments: Any) -> tuple[int, str]:
    words = [str(argument) for argument in arguments]
    result = CliRunner().invoke(app_for(words), words)
    return result.exit_code, result.output


def test_the_parity_command_tells_by_its_exit_status(release_copy: Path) -> None:
    status, output = run("parity", release_copy)
    assert status == 0
    assert "passes" in output
    (release_copy / "weights.safetensors").unlink()
    status, output = run("parity", release_copy)
    assert status == 1
    assert "weights.safetensors is missing" in output


def test_the_export_command_refuses_in_one_line(network_dir: Path, tmp_path: Path) -> None:
    status, output = run("export", tmp_path / "nope", "--out", tmp_path / "release")
    assert status == 1
    assert "nope holds no network" in output
    for arguments, reason in (
        (("--engine", "magic"), "there is no engine magic"),
        (("--frame-size", "big"), "is no frame size"),
        ((), "has no training.json"),
    ):
        status, output = run("export", network_dir, "--out", tmp_path / "release", *arguments)
        assert status == 1
        assert reason in output


def test_labels_without_a_labelled_pixel_are_no_statistics() -> None:
    with pytest.raises(ReleaseError, match="no labelled pixel"):
        SourceStatistics.of_labels(np.zeros((4, 19), np.int64))
