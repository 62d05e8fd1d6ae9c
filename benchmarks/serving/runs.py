"""One run: every way of serving under its load, in turns, so that whatever else the machine does meets all alike."""

import multiprocessing
import tempfile
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.serving.known_frames import KnownFrame, label_frames
from benchmarks.serving.load import Load, Measurement, measure
from benchmarks.serving.processes import ProcessTree
from benchmarks.serving.rounds import Rounds
from benchmarks.serving.servers import gateway, litserve
from benchmarks.serving.targets import EngineTarget, GatewayTarget, LitServeTarget, Target, TritonTarget
from benchmarks.serving.verdicts import (
    ENGINE,
    LITSERVES,
    OVERLOAD,
    TRITON,
    capacity,
    litserve_4,
    litserve_overload,
    whole_path,
)
from clients.simulation.rendered_frames import render_drives
from exchange.registry.releases import read_manifest

OVERLOAD_FACTOR = 4
OVERLOAD_VEHICLES = 16
_DOMAIN = "sim-day"
_DRIVES, _FRAMES_PER_DRIVE = 2, 6

Report = Callable[[str, Measurement], None]


@dataclass(frozen=True)
class Run:
    release: Path
    rounds: int
    seconds: float
    """Of each way in each round; Triton alone is measured in the first one only."""
    overload_seconds: float


def serve_every_way(run: Run, on_measured: Report = lambda _way, _measurement: None) -> dict[str, Rounds]:
    """
    Raises:
        ReleaseError, ServerError: what was to be served cannot be.
    """
    frames = _known_frames(run.release)
    measured: dict[str, list[Measurement]] = defaultdict(list)

    def under(load: Load, way: str, target: Target, process: ProcessPoolExecutor) -> None:
        measured[way].append(process.submit(measure, target, load, frames).result())
        on_measured(way, measured[way][-1])

    def under_awake(load: Load, way: str, target: GatewayTarget | LitServeTarget) -> None:
        ProcessTree(target.pid).go_on()
        under(load, way, target, vehicles_process)
        ProcessTree(target.pid).pause()

    with _own_process() as process:
        under(Load(4, run.seconds), TRITON, TritonTarget(run.release), process)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ours = stack.enter_context(gateway(run.release, folder))
        theirs = {workers: stack.enter_context(litserve(run.release, folder, workers)) for workers in LITSERVES}
        engine_process, vehicles_process = (stack.enter_context(_own_process()) for _ in range(2))
        for pid in (ours.pid, *(server.pid for server in theirs.values())):
            ProcessTree(pid).pause()
        turns = [  # what is compared stands side by side
            partial(under_awake, Load(16, run.seconds), whole_path(16), ours),
            partial(under_awake, Load(1, run.seconds), whole_path(1), ours),
            partial(under, Load(1, run.seconds), ENGINE, EngineTarget(run.release), engine_process),
            partial(under_awake, Load(4, run.seconds), whole_path(4), ours),
            *(partial(under_awake, Load(4, run.seconds), litserve_4(workers), theirs[workers]) for workers in theirs),
        ]
        for number in range(run.rounds):
            for take_turn in reversed(turns) if number % 2 else turns:
                take_turn()
        rate = OVERLOAD_FACTOR * capacity({way: Rounds(each) for way, each in measured.items()})
        pressed = Load(OVERLOAD_VEHICLES, run.overload_seconds, rate)
        under_awake(pressed, OVERLOAD, ours)
        for workers, server in theirs.items():
            under_awake(pressed, litserve_overload(workers), server)
    return {way: Rounds(each) for way, each in measured.items()}


def _known_frames(release: Path) -> list[KnownFrame]:
    size_hw = read_manifest(release).frame_size
    drives = render_drives(_DOMAIN, _DRIVES, _FRAMES_PER_DRIVE, size_hw, seed=0)
    jpegs = [frame.jpeg for drive in drives for frame in drive]
    with _own_process() as process:
        return process.submit(label_frames, release, jpegs).result()


def _own_process() -> ProcessPoolExecutor:
    """One process for all that is submitted: no engine, no channel and no memory of what ran before."""
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
