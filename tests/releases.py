"""Small releases that no engine has to load."""

from datetime import UTC, datetime
from pathlib import Path

from exchange.networks import NetworkConfig, WindowConfig
from exchange.registry.releases import Manifest, hash_files, write_manifest


def make_release(folder: Path, weights: bytes = b"weights") -> Path:
    """A complete release of two files."""
    (folder / "engine").mkdir(parents=True)
    (folder / "engine" / "model.xml").write_text("<net/>")
    (folder / "weights.safetensors").write_bytes(weights)
    write_manifest(folder, make_manifest(folder))
    return folder


def make_manifest(release_dir: Path) -> Manifest:
    return Manifest(
        created_at=datetime.now(UTC),
        engine="openvino",
        precision="fp32",
        network=NetworkConfig(encoder="efficientnet_lite0", head="light", dims={"channels": 64}),
        windows=WindowConfig(
            outer_crop=(64, 128), outer_stride=(64, 128), detail_crop=(32, 32), detail_stride=(16, 16)
        ),
        frame_size=(64, 128),
        source_pixel_frequency=[1 / 19] * 19,
        output_prior=[1 / 19] * 19,
        files_sha256=hash_files(release_dir),
    )
