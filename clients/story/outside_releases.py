"""Releases that no round made, as an engineer would bring them: by `roadshift train-source` and `roadshift export`."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from clients.own_processes import must_run
from clients.story.simulated_data import FRAME_HW, CityData, written
from exchange.releases import read_manifest

_CLASSIFIER = "decode_head.head.conv_seg"


def learn_daylight(data: CityData, iterations: int, out: Path) -> Path:
    """A network that has seen labelled daylight alone, as a release; kept in `out` for later stories.

    Raises:
        DemoError: a command failed.
    """
    if (out / "release").exists():
        return out / "release"
    return _trained(data, [data.source], iterations, out)


def learn_from_labels(release: Path, data: CityData, iterations: int, out: Path) -> Path:
    """The release's network after a short training on labelled frames of both domains, as a release.

    Raises:
        DemoError: a command failed.
    """
    return _trained(data, [data.source, data.labelled_dusk], iterations, out, "--start", release)


def _trained(data: CityData, sets: list[Path], iterations: int, out: Path, *start: str | Path) -> Path:
    network = out / "network"
    sources = [argument for each in sets for argument in ("--data", each)]
    budget = ("--recipe", "daylight", "--iterations", str(iterations), "--seed", "1")
    must_run("train-source", *sources, *budget, *start, "--out", network)
    return _export(network, data, out)


def poison(release: Path, data: CityData, out: Path) -> Path:
    """The release with each class's weights in its last layer given to another class, and an engine that is true to
    that: nothing is wrong with it but what it says.

    Raises:
        DemoError: a command failed.
    """
    network = out / "network"
    network.mkdir(parents=True)
    state = load_file(release / "weights.safetensors")
    order = np.random.default_rng(0).permutation(len(state[f"{_CLASSIFIER}.bias"]))
    for part in ("weight", "bias"):
        state[f"{_CLASSIFIER}.{part}"] = np.ascontiguousarray(state[f"{_CLASSIFIER}.{part}"][order])
    save_file(state, network / "weights.safetensors")
    config = read_manifest(release).network.model_dump(mode="json")
    (network / "network.json").write_text(json.dumps({"network": config}))
    return _export(network, data, out)


def evaluated(release: Path, data: CityData, folder: Path) -> float:
    """The release's mIoU on the labelled dusk frames of other drives. Raises DemoError where the command failed."""
    scores = folder / "scores.json"
    must_run("evaluate", release, "--data", data.judged_dusk, "--json", scores)
    return float(json.loads(scores.read_text())["mean_iou"])


def _export(network: Path, data: CityData, out: Path) -> Path:
    """With the statistics and the calibration of the held-out source frames."""
    release = out / "release"
    frames = ("--data", data.source, "--limit", "2", "--frame-size", written(FRAME_HW))
    must_run("export", network, *frames, "--out", release)
    return release
