"""One cell of the table: a row from one start on one shift with one seed, trained, scored, judged and kept."""

import copy
import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from adaptation.learning.data.class_statistics import count_classes
from adaptation.learning.data.labelled_frames import read_frame, read_labels
from adaptation.learning.evaluation.evaluate import FrameLabeller, open_labeller, spread
from adaptation.learning.evaluation.scores import count_confusion
from adaptation.learning.gate.judge import judge
from adaptation.learning.gate.measure import TargetFrame, measure
from adaptation.learning.networks.checkpoints import load_network
from adaptation.learning.networks.hrda import HRDA
from adaptation.learning.rounds.prior import NamedImage, PriorRecord, measure_prior
from adaptation.learning.rounds.pseudo_labels import measure_statistics
from adaptation.learning.rounds.region_requests import RegionBudget, answer_from_truth, request_regions
from adaptation.learning.rounds.run import adapt, interpolated
from adaptation.learning.rounds.start import open_start
from adaptation.learning.rounds.work import Round
from adaptation.learning.training.recipes import few_labels
from benchmarks.adaptation.progress import tell
from benchmarks.adaptation.rows import ROWS, LabelTraining, Row
from benchmarks.adaptation.shifts import Shift, Truth
from benchmarks.adaptation.starts import Start, Training, train_on
from benchmarks.report import hardware, versions
from exchange.jobs.limits import GateLimits
from exchange.jobs.recipes import EstimatorName, RoundConfig
from exchange.label_space import NUM_CLASSES
from exchange.registry.releases import read_manifest

_SOURCE_FRAMES, _STATISTICS_FRAMES = 60, 24


class Key(NamedTuple):
    shift: str
    start: str
    row: str
    seed: int

    def name(self) -> str:
        """Return the beginning of the cell's file name, which a row of other settings does not share."""
        digest = hashlib.sha256(ROWS[self.row].settings.encode()).hexdigest()
        return f"{self.row}-{self.seed}-{digest[:8]}"

    def files(self, folder: Path) -> list[Path]:
        """Return where the cell is kept, once for each machine's training of the start."""
        return sorted((folder / f"{self.shift}-{self.start}").glob(f"{self.name()}-*.json"))

    def file(self, folder: Path, start: Start) -> Path:
        return folder / f"{self.shift}-{self.start}" / f"{self.name()}-{start.sha256[:8]}.json"


class Counts(BaseModel):
    """Confusion counts of a truth, block by block."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    blocks: tuple[str, ...]
    pixels: tuple[tuple[int, int, int, int], ...]
    """Index of the block, true class, predicted class, and how many; pairs without a pixel are left out."""

    @classmethod
    def of(cls, by_block: Mapping[str, NDArray[np.int64]]) -> Self:
        places = (
            (index, int(true), int(predicted), int(counts_KK[true, predicted]))
            for index, counts_KK in enumerate(by_block.values())
            for true, predicted in np.argwhere(counts_KK)
        )
        return cls(blocks=tuple(by_block), pixels=tuple(places))

    @property
    def array(self) -> NDArray[np.int64]:
        """int64 [blocks, 19, 19]."""
        counts_BKK = np.zeros((len(self.blocks), NUM_CLASSES, NUM_CLASSES), np.int64)
        for block, true, predicted, pixels in self.pixels:
            counts_BKK[block, true, predicted] = pixels
        return counts_BKK


class Judged(BaseModel):
    """What the gate said."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    promoted: bool
    reasons: tuple[str, ...]


class Cell(BaseModel):
    """A finished cell."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shift: str
    start: str
    row: str
    seed: int
    measured_at: datetime
    hardware: dict[str, str | int]
    versions: dict[str, str]
    start_sha256: str
    settings: str
    seconds: float | None
    """To train, score and judge it; None where it was cut off in between."""
    target: dict[str, Counts]
    """By truth."""
    source: Counts
    interpolated: dict[str, Counts] = {}
    """On the first truth, where the shipped weights lie so far from the start's to the trained ones."""
    gate: Judged | None
    """None for what no round made."""

    @property
    def key(self) -> Key:
        return Key(self.shift, self.start, self.row, self.seed)

    @property
    def is_current(self) -> bool:
        """Whether the row still has the settings that the cell was measured with."""
        return self.row in ROWS and ROWS[self.row].settings == self.settings

    @classmethod
    def read(cls, path: Path) -> Self:
        return cls.model_validate_json(path.read_text())


@dataclass(frozen=True)
class Bench:
    """What the cells of one shift and start share."""

    shift: Shift
    start: Start
    work: Path
    shrunk: Callable[[RoundConfig], RoundConfig] = lambda config: config
    """Makes a recipe a miniature's."""
    shrunk_training: Callable[[Training], Training] = lambda training: training


def read_cells(folder: Path) -> list[Cell]:
    return [Cell.read(path) for path in sorted(folder.glob("*/*.json"))]


def run_cell(bench: Bench, key: Key, kept: Path) -> Cell:
    """Trains and scores a cell, or goes on with it where it was cut off; writes it below `kept`, and returns it."""
    path = key.file(kept, bench.start)
    folder = bench.work / path.stem
    began_before = folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    started_s = time.monotonic()
    row, shift = ROWS[key.row], bench.shift
    network = _trained(bench, key, folder)
    labeller = open_labeller(network, shift.frame_size, _device())
    if row.does == "AdaBN":
        images = [frame.image for frame in spread(shift.target.frames(), _STATISTICS_FRAMES)]
        measure_statistics(labeller, images, lambda done: tell("reading statistics", done, len(images)))
    elif isinstance(row.does, str):
        labeller = replace(labeller, log_ratio=_log_ratio(bench, row.does, folder / "prior"))
    gate = _judged(bench, folder) if isinstance(row.does, RoundConfig) else None
    truths = {shift.truth_with_labels: shift.truths[shift.truth_with_labels]} if row.sees_labels else shift.truths
    source = spread(shift.source_held_out.frames(), _SOURCE_FRAMES)
    cell = Cell(
        **key._asdict(),
        start_sha256=bench.start.sha256,
        settings=row.settings,
        target={name: _count(labeller, truth) for name, truth in truths.items()},
        source=_count(labeller, Truth(tuple(source), ("source",) * len(source))),
        interpolated={
            f"{share:g}": _count(replace(labeller, network=between), next(iter(truths.values())))
            for share, between in _interpolations(bench, row, folder)
        },
        gate=gate,
        measured_at=datetime.now(UTC).replace(microsecond=0),
        hardware=hardware(),
        versions=versions(),
        seconds=None if began_before else round(time.monotonic() - started_s, 1),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(cell.model_dump_json() + "\n")
    partial.rename(path)
    shutil.rmtree(folder)
    return cell


def _trained(bench: Bench, key: Key, folder: Path) -> Path:
    """Return the folder of the network that the row makes of the start; the start's own where it trains nothing."""
    row, shift = ROWS[key.row], bench.shift
    if isinstance(row.does, LabelTraining):
        config = few_labels().model_copy(update={"learning_rate": row.does.learning_rate})
        training = Training(config, row.does.iterations, key.seed, bench.start.release)
        return train_on(bench.shrunk_training(training), [shift.source, shift.labelled], folder / "training")
    if not isinstance(row.does, RoundConfig):
        return bench.start.release
    asked = None if row.asked is None else _asked(bench, row.asked(key.seed), folder / "asked")
    round_ = Round(
        bench.shrunk(row.does),
        bench.start.release,
        [shift.source],
        shift.target.folder,
        folder / "round",
        seed=key.seed,
        target_split=shift.target.split or "train",
        asked=asked,
        classes=shift.classes,
    )
    adapt(round_, lambda what, done, total, _: tell(what, done, total))
    return round_.out / "network"


def _asked(bench: Bench, budget: RegionBudget, out: Path) -> Path:
    """Return the oracle's answers to what the start would ask of the labelled frames."""
    labelled = bench.shift.labelled.frames()
    request_regions(
        out,
        open_labeller(bench.start.release, bench.shift.frame_size, _device()),
        bench.start.sha256,
        [frame.image for frame in labelled],
        budget,
        None,
        lambda done, total: tell("asking", done, total),
    )
    return answer_from_truth(out, labelled, None)


def _log_ratio(bench: Bench, estimator: EstimatorName, folder: Path) -> tuple[float, ...]:
    folder.mkdir(exist_ok=True)
    target, source = bench.shift.target.frames(), bench.shift.source.frames()
    start = open_start(bench.start.release, bench.shift.frame_size, _device())
    measure_prior(
        folder,
        start.labeller,
        estimator,
        [NamedImage(frame.image.stem, frame.image, frame.sequence) for frame in spread(target, _SOURCE_FRAMES)],
        [frame.image for frame in spread(source, _SOURCE_FRAMES)],
        np.stack([count_classes(read_labels(frame)) for frame in source]),
        start.source_prior,
        0,
        lambda done, total: tell("measuring the prior", done, total),
    )
    return tuple(PriorRecord.read(folder).log_ratio)


def _judged(bench: Bench, folder: Path) -> Judged:
    """Return what the gate says of the round's release beside the start, on the frames that a learner would give it."""
    limits = GateLimits()
    measured = measure(
        folder / "round" / "release",
        bench.start.release,
        [bench.shift.source_held_out],
        [TargetFrame(frame.image, frame.sequence) for frame in bench.shift.target.frames()],
        target_frames=limits.target_frames,
        on_frame=lambda what, done, total: tell(f"judging on the {what}", done, total),
    )
    verdict = judge(measured, limits)
    return Judged(promoted=verdict.passed, reasons=verdict.reasons())


def _interpolations(bench: Bench, row: Row, folder: Path) -> Iterator[tuple[float, HRDA]]:
    """Yield the networks between the start and what the round trained, before it went only a part of the way."""
    if not row.interpolations or not isinstance(row.does, RoundConfig):
        return
    out = folder / "round"
    settings = row.does.self_training
    trained = out / "label_training" if settings is None else out / "self_training" / settings.ships
    manifest = read_manifest(bench.start.release)
    start, end = load_network(bench.start.release, manifest.network), load_network(trained)
    for share in row.interpolations:
        network = copy.deepcopy(end)
        network.load_state_dict(interpolated(start.state_dict(), end.state_dict(), share))
        yield share, network.to(_device())


def _count(labeller: FrameLabeller, truth: Truth) -> Counts:
    labeller = labeller.for_frames(len(truth.frames))
    by_block: dict[str, NDArray[np.int64]] = {}
    for done, (frame, block) in enumerate(zip(truth.frames, truth.blocks, strict=True), start=1):
        image_HW3, truth_HW = read_frame(frame)
        counts_KK = count_confusion(truth_HW, labeller.labels(image_HW3))
        by_block[block] = by_block.get(block, 0) + counts_KK
        tell("scoring", done, len(truth.frames))
    return Counts.of(by_block)


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
