"""Releases and a labelled source that cost nothing: what is of interest goes on around them."""

from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np

from benchmarks.faults.fault_plans import EngineKind
from benchmarks.faults.gray_engine import save_engine
from exchange.label_space import NUM_CLASSES
from exchange.networks import NetworkConfig, whole_frame_windows
from exchange.registry.releases import Manifest, hash_files, write_manifest

FRAME_SIZE = (64, 96)
_SOURCE_FRAMES = 2


def make_release(folder: Path, shift: float, engine: EngineKind) -> Path:
    """Complete, of three files; with the engine "fake", only that can load it."""
    (folder / "engine").mkdir(parents=True)
    (folder / "weights.safetensors").write_text(str(shift))
    if engine == "triton":
        save_engine(folder / "engine" / "model.xml", FRAME_SIZE, shift)
    else:
        (folder / "engine" / "model.xml").write_text("<net/>")
        (folder / "engine" / "model.bin").write_bytes(bytes(100))
    uniform = [1 / NUM_CLASSES] * NUM_CLASSES
    manifest = Manifest(
        created_at=datetime.now(UTC),
        engine="openvino",
        precision="fp32",
        network=NetworkConfig(encoder="efficientnet_lite0", head="light"),
        windows=whole_frame_windows(FRAME_SIZE),
        frame_size=FRAME_SIZE,
        source_pixel_frequency=uniform,
        source_presence=[0.5] * NUM_CLASSES,
        output_prior=uniform,
        files_sha256=hash_files(folder),
    )
    write_manifest(folder, manifest)
    return folder


def shift_of(release: Path) -> float:
    """The one that it was made with."""
    return float((release / "weights.safetensors").read_text())


def make_source(folder: Path) -> Path:
    """Labelled frames in the layout of CamVid, for a learner that looks whether there are any."""
    for name, channels in (("frames", 3), ("labels", 1)):
        (folder / name).mkdir(parents=True)
        for index in range(_SOURCE_FRAMES):
            pixels = np.full((60, 80, channels), 3, np.uint8)
            cv2.imwrite(str(folder / name / f"0006R0_f{index:05}.png"), pixels)
    return folder
