"""Releases that no round made, as an engineer would bring them, by `roadshift export`; and what one was measured at."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from clients.demo.simulated_data import FRAME_HW, CityData, written
from clients.own_processes import must_run
from exchange.registry.releases import read_manifest

DAYLIGHT = Path(__file__).parents[2] / "model_repository" / "daylight"
"""A network that has seen labelled daylight alone; daylight.md says how it was made and what it was measured at."""
_CLASSIFIER = "decode_head.head.conv_seg"


def poison(release: Path, data: CityData, out: Path) -> Path:
    """The release with each class's weights in its last layer given to another class, and an engine that is true to
    that: nothing is wrong with it but what it says. One that is there is kept.

    Raises:
        DemoError: a command failed.
    """
    network = out / "network"
    network.mkdir(parents=True, exist_ok=True)
    state = load_file(release / "weights.safetensors")
    order = np.random.default_rng(0).permutation(len(state[f"{_CLASSIFIER}.bias"]))
    for part in ("weight", "bias"):
        state[f"{_CLASSIFIER}.{part}"] = np.ascontiguousarray(state[f"{_CLASSIFIER}.{part}"][order])
    save_file(state, network / "weights.safetensors")
    config = read_manifest(release).network.model_dump(mode="json")
    (network / "network.json").write_text(json.dumps({"network": config}))
    export(network, data, out / "release")
    return out / "release"


def export(network: Path, data: CityData, release: Path) -> None:
    """With the statistics and the calibration of the held-out source frames; a release that is there is kept.

    Raises:
        DemoError: the command failed.
    """
    if release.exists():
        return
    frames = ("--data", data.source, "--limit", "2", "--frame-size", written(FRAME_HW))
    must_run("export", network, *frames, "--out", release)


def evaluated(network: Path, data: CityData, folder: Path) -> float:
    """A network's or a release's mIoU on labelled dusk frames of other drives. Raises DemoError where that failed."""
    scores = folder / "scores.json"
    size = ("--frame-size", written(FRAME_HW))
    must_run("evaluate", network, "--data", data.judged_dusk, *size, "--json", scores)
    return float(json.loads(scores.read_text())["mean_iou"])


def scores_beforehand() -> dict[str, float]:
    """Return mIoU % on the demo's dusk frames of other drives, as daylight.md's commands measured it, by network."""
    measured: dict[str, float] = json.loads((DAYLIGHT / "dusk.json").read_text())["mean_iou"]
    return measured
