"""What a round on serving's own cores costs serving: `python -m benchmarks.interference`.

`roadshift serve` with its defaults gets frames at half of what it can answer, from vehicles that do not wait. A worker
trains on the same cores: not at all, as the learner runs it (of the idle class, and stopped while a frame is inferred),
with the low priority alone, and like any other process. The four take turns in short rounds, each time in another
order, so that a machine that grows slower favours nobody; who has no turn is stopped. Must: p99 with a round as the
learner runs it is at most 1.25 times that without one. Nothing else may run on the machine.
"""

import argparse
import multiprocessing
import os
import random
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from adaptation.control.rounds.worker_process import WorkerProcess
from benchmarks.report import RESULTS, Row, print_table, write_report
from benchmarks.serving.known_frames import KnownFrame, label_frames
from benchmarks.serving.load import Load, Measurement, measure
from benchmarks.serving.servers import ServerError, gateway
from benchmarks.serving.targets import GatewayTarget
from clients.simulation.city.cityscapes_writer import write_cityscapes
from clients.simulation.rendered_frames import render_drives
from exchange.jobs.job import Job, Source
from exchange.jobs.limits import GateLimits
from exchange.jobs.recipes import cpu_quick
from exchange.jobs.round_files import JOB_FILE, TARGET_FOLDER, write_whole
from exchange.registry.releases import read_manifest
from server.settings import STARTER_RELEASE

NO_ROUND, AS_THE_LEARNER, PRIORITY_ONLY, ANY_PROCESS = "no round", "frozen and idle", "idle only", "like any process"
HIGHEST_RATIO = 1.25
VEHICLES = 4
_SHARE_OF_CAPACITY = 0.5
_SETTLE_S = 0.5
_TRAINS_WITHIN_S = 900.0
_SOURCE_FRAMES, _TARGET_DRIVES, _FRAMES_OF_A_DRIVE = 12, 3, 6


@dataclass
class Way:
    """One way of training beside serving, over all its turns."""

    worker: WorkerProcess | None
    measured: Measurement = field(default_factory=Measurement)
    p99s_ms: list[float] = field(default_factory=list)
    """Of its turns."""
    wall_s: float = 0.0
    worked_s: float = 0.0
    iterations: int = 0

    def row(self, name: str, alone_p99_ms: float) -> Row:
        p99_ms = self.measured.percentile_ms(99)
        return {
            "round": name,
            "answered": len(self.measured.latencies_s),
            "refused": len(self.measured.refusals_s),
            "lost": self.measured.lost.total(),
            "wrong": self.measured.wrong,
            "p50 ms": self.measured.percentile_ms(50),
            "p99 ms": p99_ms,
            "p99 / no round": p99_ms / alone_p99_ms,
            "round ran, % of the time": 100 * self.worked_s / self.wall_s if self.wall_s else 0.0,
            "iterations a minute": 60 * self.iterations / self.wall_s if self.wall_s else 0.0,
        }


def take_turns(
    target: GatewayTarget, ways: Mapping[str, Way], frames: list[KnownFrame], options: argparse.Namespace
) -> float:
    """Measures all ways; returns the rate, in frames a second."""
    with _own_process() as vehicles:
        capacity = vehicles.submit(measure, target, Load(VEHICLES, options.seconds), frames).result().frames_per_s
        rate = _SHARE_OF_CAPACITY * capacity
        print(f"{capacity:.1f} frames/s at most: {rate:.1f} a second are sent", flush=True)
        order = list(ways)
        rng = random.Random(0)  # noqa: S311 - no secret
        for number in range(options.rounds):
            rng.shuffle(order)
            for name in order:
                load = Load(VEHICLES, options.seconds, rate)
                with _turn(ways[name]):
                    got = vehicles.submit(measure, target, load, frames).result()
                ways[name].measured.add(got)
                ways[name].p99s_ms.append(got.percentile_ms(99))
                print(f"round {number + 1}, {name}: p99 {got.percentile_ms(99):.0f} ms", flush=True)
    return rate


@contextmanager
def _turn(way: Way) -> Iterator[None]:
    worker = way.worker
    if worker is None:
        time.sleep(_SETTLE_S)
        yield
        return
    worker.hold("")
    time.sleep(_SETTLE_S)
    began_s, worked_s, done = time.monotonic(), worker.worked_s, _done(worker)
    yield
    way.wall_s += time.monotonic() - began_s
    way.worked_s += worker.worked_s - worked_s
    way.iterations += _done(worker) - done
    worker.hold("it has no turn")
    if worker.exit_status is not None:
        raise SystemExit(f"error: the round ended amid the measurement: {worker.failure() or worker.last_words()}")


def _done(worker: WorkerProcess) -> int:
    progress = worker.progress()
    return 0 if progress is None else progress.done


@contextmanager
def training(
    folder: Path, yield_file: Path | None, release: Path, data: Path, *, alone: bool
) -> Iterator[WorkerProcess]:
    """A worker that is amid its training, and stopped."""
    folder.mkdir(parents=True)
    write_whole(folder / JOB_FILE, _job(release, data).encode())
    (folder / TARGET_FOLDER).symlink_to(data / "target")
    worker = WorkerProcess(folder, engine_busy=yield_file, alone=alone)
    try:
        over_s = time.monotonic() + _TRAINS_WITHIN_S
        while (progress := worker.progress()) is None or not progress.curve:
            if worker.exit_status is not None or time.monotonic() > over_s:
                raise SystemExit(f"error: the round does not train: {worker.failure() or worker.last_words()}")
            time.sleep(0.1)
        worker.hold("it has no turn")
        yield worker
    finally:
        worker.kill()


def _job(release: Path, data: Path) -> Job:
    config = cpu_quick().model_copy(update={"measured_frames": _FRAMES_OF_A_DRIVE})
    return Job(
        config=config.with_budget(24 * 60, "minutes"),
        start=release,
        incumbent=release,
        anchor=None,
        prior=None,
        limits=GateLimits(),
        sources=(Source(folder=data / "source"),),
        seed=0,
    )


def _render(data: Path, size_hw: tuple[int, int]) -> list[bytes]:
    """Labelled day and plain dusk to train on; returns JPEGs to send."""
    for split in ("train", "val"):
        for _ in write_cityscapes(data / "source", "sim-day", split, _SOURCE_FRAMES, _TARGET_DRIVES, 0, size_hw):
            continue
    drives = list(render_drives("sim-dusk", _TARGET_DRIVES, _FRAMES_OF_A_DRIVE, size_hw, seed=0))
    for number, drive in enumerate(drives):
        folder = data / "target" / f"drive-{number}"
        folder.mkdir(parents=True)
        for index, frame in enumerate(drive):
            (folder / f"{index}.jpg").write_bytes(frame.jpeg)
    return [frame.jpeg for drive in drives for frame in drive]


def _own_process() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))


def main() -> None:
    options = _parser().parse_args()
    load_before = os.getloadavg()[0]
    release: Path = options.release.absolute()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        jpegs = _render(folder / "data", read_manifest(release).frame_size)
        with _own_process() as engine:
            frames = engine.submit(label_frames, release, jpegs).result()
        yield_file = folder / "engine_busy"

        def worker(name: str, *, frozen: bool, alone: bool) -> WorkerProcess:
            reads = yield_file if frozen else None
            return stack.enter_context(training(folder / name, reads, release, folder / "data", alone=alone))

        ways = {
            NO_ROUND: Way(None),
            AS_THE_LEARNER: Way(worker("frozen", frozen=True, alone=False)),
            PRIORITY_ONLY: Way(worker("idle", frozen=False, alone=False)),
            ANY_PROCESS: Way(worker("any", frozen=False, alone=True)),
        }
        try:
            target = stack.enter_context(gateway(release, folder, "--yield-file", str(yield_file)))
        except ServerError as error:
            raise SystemExit(f"error: {error}") from error
        rate = take_turns(target, ways, frames, options)
        _report(ways, rate, load_before, options)


def _report(ways: Mapping[str, Way], rate: float, load_before: float, options: argparse.Namespace) -> None:
    alone_ms = ways[NO_ROUND].measured.percentile_ms(99)
    rows = [way.row(name, alone_ms) for name, way in ways.items()]
    ratio = ways[AS_THE_LEARNER].measured.percentile_ms(99) / alone_ms
    print_table(f"Serving at {rate:.1f} frames/s beside a round", rows)
    must = f"p99 beside a round is {ratio:.2f} times that without (must: at most {HIGHEST_RATIO})"
    print(f"{'holds' if ratio <= HIGHEST_RATIO else 'FAILS'}: {must}")
    settings = {
        "release": options.release.name,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "frames_per_s": rate,
        "vehicles": VEHICLES,
        "p99s_ms_by_turn": {name: way.p99s_ms for name, way in ways.items()},
        "load_average_before": load_before,
        "must": must,
        "holds": ratio <= HIGHEST_RATIO,
    }
    print(f"written to {write_report('interference', rows, settings, options.results)}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.interference", description=__doc__)
    parser.add_argument("--release", type=Path, default=STARTER_RELEASE)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each way in each round")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser


if __name__ == "__main__":
    main()
