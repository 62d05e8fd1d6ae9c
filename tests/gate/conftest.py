"""Releases of networks that were really trained in the toy city, well and badly."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from adaptation.learning.data.data_choice import DataChoice, choose_data
from adaptation.learning.export.release import ExportSettings, SourceStatistics, export_release
from adaptation.learning.gate.measure import TargetFrame
from adaptation.learning.networks.checkpoints import save_network
from benchmarks.gate.candidates import State
from exchange.networks import whole_frame_windows
from exchange.registry.releases import ENGINE_FOLDER, MANIFEST_NAME, hash_files, read_manifest, write_manifest
from tests.gate.toy_city import (
    BUILDING,
    NETWORK,
    SIZE,
    SKY,
    Frame,
    draw_frames,
    network_of,
    new_network,
    trained,
    write_frames,
)

DAY, DUSK = draw_frames(0, 40, dusk=False), draw_frames(1000, 40, dusk=True)
DAY_HELD_OUT, DUSK_HELD_OUT = draw_frames(5000, 16, dusk=False), draw_frames(6000, 36, dusk=True)

Releases = Callable[[str], Path]


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> DataChoice:
    return choose_data([write_frames(tmp_path_factory.mktemp("toy") / "day", DAY_HELD_OUT)], "val")[0]


@pytest.fixture(scope="session")
def dusk_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_frames(tmp_path_factory.mktemp("toy") / "dusk", DUSK_HELD_OUT)


@pytest.fixture(scope="session")
def target(dusk_folder: Path) -> list[TargetFrame]:
    """Six frames a drive."""
    images = sorted((dusk_folder / "images").iterdir())
    return [TargetFrame(image, str(index // 6)) for index, image in enumerate(images)]


@pytest.fixture(scope="session")
def release_of(tmp_path_factory: pytest.TempPathFactory) -> Releases:
    """release_of(name): the incumbent, trained by day, or a candidate that started from it; each is built once."""
    root = tmp_path_factory.mktemp("releases")
    states: dict[str, State] = {}

    def state_of(name: str) -> State:
        if name not in states:
            torch.set_num_threads(1)
            if name == "incumbent":
                states[name] = trained(new_network(), DAY, 60)
            else:
                states[name] = _CANDIDATES[name](state_of("incumbent"))
        return states[name]

    def build(name: str) -> Path:
        out = root / name
        if not out.exists():
            if name == "broken engine":
                return _with_engine_of(build("improved"), build("talked out of the sky"), out)
            save_network(root / f"{name}-network", NETWORK, state_of(name))
            _export(root / f"{name}-network", out)
        return out

    return build


def _export(network: Path, out: Path) -> None:
    labelled = [((image, SIZE), labels) for image, labels in DAY_HELD_OUT[:8]]
    counts = np.stack([np.bincount(labels.ravel(), minlength=256)[:19] for _, labels in DAY])
    settings = ExportSettings("openvino", "fp32", SIZE, whole_frame_windows(SIZE))
    export_release(
        network,
        out,
        settings,
        SourceStatistics.of_labels(counts),
        (frame for frame, _ in labelled[:2]),
        held_out=labelled,
    )


def _with_engine_of(release: Path, other: Path, out: Path) -> Path:
    """A release whose manifest vouches for the engine of other weights."""
    shutil.copytree(release, out, ignore=shutil.ignore_patterns(MANIFEST_NAME, ENGINE_FOLDER))
    shutil.copytree(other / ENGINE_FOLDER, out / ENGINE_FOLDER)
    write_manifest(out, read_manifest(release).model_copy(update={"files_sha256": hash_files(out)}))
    return out


def _improved(incumbent: State) -> State:
    return trained(network_of(incumbent), DAY + DUSK, 40, 1e-3)


def _talked_out_of_the_sky(incumbent: State) -> State:
    """Where a naive teacher ends at dusk: it has been told by day what it knew, and at dusk that the sky is a wall."""
    return trained(network_of(incumbent), [*DAY, *(_without_sky(frame) for frame in DUSK)], 40, 1e-3)


def _without_sky(frame: Frame) -> Frame:
    image, labels = frame
    return image, np.where(labels == SKY, np.uint8(BUILDING), labels)


def _shuffled(incumbent: State) -> State:
    """Every frame carries another one's classes."""
    table = np.random.default_rng(1).permutation(256).astype(np.uint8)
    table[:19] = np.random.default_rng(1).permutation(19)
    return trained(network_of(incumbent), [(image, table[labels]) for image, labels in DAY + DUSK], 15, 1e-3)


def _forgetful(incumbent: State) -> State:
    """Has learned a camera that gives negatives, and nothing beside it."""
    return trained(network_of(incumbent), [(255 - image, labels) for image, labels in DUSK], 40, 2e-3)


def _few_classes(incumbent: State) -> State:
    """Road and building alone have a head left."""
    state = {name: tensor.clone() for name, tensor in incumbent.items()}
    bias = next(name for name, t in state.items() if name.endswith(".bias") and len(t) == 19)
    kept = torch.zeros(19, dtype=torch.bool)
    kept[[0, BUILDING]] = True
    state[bias] = torch.where(kept, state[bias], state[bias] - 20)
    return state


_CANDIDATES: dict[str, Callable[[State], State]] = {
    "improved": _improved,
    "talked out of the sky": _talked_out_of_the_sky,
    "shuffled": _shuffled,
    "forgetful": _forgetful,
    "few classes": _few_classes,
}
