"""One run: every way of serving under its load, one after the other."""

import multiprocessing
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.known_frames import KnownFrame, label_frames
from benchmarks.serving.load import Load, Measurement, measure
from benchmarks.serving.servers import gateway, litserve
from benchmarks.serving.targets import EngineTarget, Target, TritonTarget
from benchmarks.serving.verdicts import (
    ENGINE,
    LITSERVE_4,
    LITSERVE_OVERLOAD,
    OVERLOAD,
    TRITON,
    VEHICLES,
    capacity,
    whole_path,
)
from clients.rendered_frames import render_drives
from exchange.releases import read_manifest

OVERLOAD_FACTOR = 4
OVERLOAD_VEHICLES = 16
_DOMAIN = "sim-day"
_DRIVES, _FRAMES_PER_DRIVE = 2, 6

Report = Callable[[str, Measurement], None]


@dataclass(frozen=True)
class Run:
    release: Path
    seconds: float
    overload_seconds: float


def serve_every_way(run: Run, on_measured: Report = lambda _name, _measurement: None) -> dict[str, Measurement]:
    """
    Raises:
        ReleaseError, ServerError: what was to be served cannot be.
    """
    measured: dict[str, Measurement] = {}
    frames = _known_frames(run.release)

    def under(load: Load, way: str, target: Target) -> None:
        with _own_process() as process:
            measured[way] = process.submit(measure, target, load, frames).result()
        on_measured(way, measured[way])

    def pressed() -> Load:
        return Load(OVERLOAD_VEHICLES, run.overload_seconds, OVERLOAD_FACTOR * capacity(measured))

    under(Load(1, run.seconds), ENGINE, EngineTarget(run.release))
    under(Load(4, run.seconds), TRITON, TritonTarget(run.release))
    with tempfile.TemporaryDirectory() as folder:
        with gateway(run.release, Path(folder)) as ours:
            for vehicles in VEHICLES:
                under(Load(vehicles, run.seconds), whole_path(vehicles), ours)
            under(pressed(), OVERLOAD, ours)
        with litserve(run.release, Path(folder)) as theirs:
            under(Load(4, run.seconds), LITSERVE_4, theirs)
            under(pressed(), LITSERVE_OVERLOAD, theirs)
    return measured


def _known_frames(release: Path) -> list[KnownFrame]:
    size_hw = read_manifest(release).frame_size
    drives = render_drives(_DOMAIN, _DRIVES, _FRAMES_PER_DRIVE, size_hw, seed=0)
    jpegs = [frame.jpeg for drive in drives for frame in drive]
    with _own_process() as process:
        return process.submit(label_frames, release, jpegs).result()


def _own_process() -> ProcessPoolExecutor:
    """A fresh process: no engine, no channel and no memory of what ran before."""
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
