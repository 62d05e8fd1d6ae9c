"""A release is written whole, or not at all, and its engine is held against its weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from adaptation.export.build_tensorrt import TensorRTError
from adaptation.export.engines import load_engine
from adaptation.export.parity import measure_parity, noise_frames
from adaptation.export.release import ExportSettings, SourceStatistics, export_release
from adaptation.networks.checkpoints import save_network
from adaptation.networks.hrda import build_network
from exchange.networks import NetworkConfig, whole_frame_windows
from exchange.releases import Engine, Manifest, ReleaseError, read_manifest, verify_release

FRAME_SIZE = (64, 128)
CONFIG = NetworkConfig(
    encoder="mit_custom",
    head="light",
    dims={
        "embed_dims": (8, 16, 40, 64), "num_heads": (1, 2, 5, 8), "depths": (1, 1, 1, 1), "sr_ratios": (8, 4, 2, 1),
        "channels": 16,
    },
)  # fmt: skip
STATISTICS = SourceStatistics.of_labels(np.full((4, 19), 100))


@pytest.fixture(scope="module")
def network_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("network")
    torch.manual_seed(0)
    network = build_network(CONFIG)
    with torch.no_grad():
        network.decode_head.head.conv_seg.weight.mul_(200)
    save_network(folder, CONFIG, network.state_dict())
    return folder


def settings(engine: Engine = "openvino", *, half_weights: bool = False) -> ExportSettings:
    return ExportSettings(engine, "fp32", FRAME_SIZE, whole_frame_windows(FRAME_SIZE), half_weights)


def exported(network_dir: Path, out: Path, chosen: ExportSettings) -> Manifest:
    manifest, parity = export_release(network_dir, out, chosen, STATISTICS, noise_frames(FRAME_SIZE))
    assert parity.passes
    return manifest


@pytest.mark.parametrize("engine", ["openvino", "torch"])
@pytest.mark.parametrize("half_weights", [False, True], ids=["float32", "float16"])
def test_a_release_reads_back_and_labels_frames(
    network_dir: Path, tmp_path: Path, engine: Engine, half_weights: bool
) -> None:
    out = tmp_path / "release"
    assert exported(network_dir, out, settings(engine, half_weights=half_weights)) == verify_release(out)
    frame = next(noise_frames(FRAME_SIZE))[0]
    labels = load_engine(out).infer(frame).label_HW
    assert labels.shape == FRAME_SIZE
    assert len(np.unique(labels)) > 1
    assert [path.name for path in tmp_path.iterdir()] == ["release"]


def test_an_engine_of_other_weights_fails_parity(network_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "release"
    manifest = exported(network_dir, out, settings())
    weights = load_file(out / "weights.safetensors")
    save_file({name: tensor.flip(0).contiguous() for name, tensor in weights.items()}, out / "weights.safetensors")
    parity = measure_parity(out, manifest, noise_frames(FRAME_SIZE), lambda _: None)
    assert not parity.passes
    assert parity.logit_error is not None
    assert parity.logit_error > 0.1


def test_a_release_is_never_overwritten(network_dir: Path, tmp_path: Path) -> None:
    exported(network_dir, tmp_path / "release", settings())
    before = read_manifest(tmp_path / "release")
    with pytest.raises(ReleaseError, match="never changed"):
        exported(network_dir, tmp_path / "release", settings())
    assert read_manifest(tmp_path / "release") == before


def test_what_fails_leaves_nothing(network_dir: Path, tmp_path: Path) -> None:
    wrong = ExportSettings("openvino", "fp32", (60, 128), whole_frame_windows((60, 128)))
    with pytest.raises(ValueError, match="64x128"):
        exported(network_dir, tmp_path / "release", wrong)
    with pytest.raises(TensorRTError, match="pip install"):
        exported(network_dir, tmp_path / "release", settings("tensorrt"))
    assert list(tmp_path.iterdir()) == []


def test_a_network_without_record_asks_for_its_source(network_dir: Path) -> None:
    with pytest.raises(ReleaseError, match="--data"):
        SourceStatistics.of_training(network_dir)
