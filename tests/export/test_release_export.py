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

from adaptation.export.build_tensorrt import TensorRTError
from adaptation.export.engines import load_engine
from adaptation.export.parity import measure_parity, noise_frames
from adaptation.export.release import ExportSettings, ParityError, SourceStatistics, export_release
from adaptation.export.source_presence import measure_source_presence
from adaptation.networks.checkpoints import save_network
from adaptation.networks.hrda import HRDA, build_network
from cli import app_for
from exchange.frame_fitting import fit_frame
from exchange.networks import NetworkConfig, whole_frame_windows
from exchange.releases import MANIFEST_NAME, Engine, Manifest, Precision, ReleaseError, read_manifest, verify_release

FRAME_SIZE = (64, 128)
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
    return export_release(network_dir, out, chosen, STATISTICS, noise_frames(FRAME_SIZE))[0]


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


def test_a_release_labels_frames(openvino_release: Path) -> None:
    labels = load_engine(openvino_release, threads=1).infer(next(noise_frames(FRAME_SIZE))[0]).label_HW
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


def test_an_engine_of_other_weights_fails_parity(release_copy: Path) -> None:
    weights = load_file(release_copy / "weights.safetensors")
    save_file(
        {key: tensor.flip(0).contiguous() for key, tensor in weights.items()}, release_copy / "weights.safetensors"
    )
    parity = measure_parity(release_copy, read_manifest(release_copy), noise_frames(FRAME_SIZE), lambda _: None)
    assert not parity.passes
    assert parity.logit_error is not None
    assert parity.logit_error > 0.1


def test_a_release_is_never_overwritten(network_dir: Path, openvino_release: Path) -> None:
    before = (openvino_release / MANIFEST_NAME).read_bytes()
    with pytest.raises(ReleaseError, match="never changed"):
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
    for arguments, reason in (
        (("--engine", "magic"), "there is no engine magic"),
        (("--frame-size", "big"), "is no frame size"),
        ((), "has no training.json"),
    ):
        status, output = run("export", network_dir, "--out", tmp_path / "release", *arguments)
        assert status == 1
        assert reason in output
