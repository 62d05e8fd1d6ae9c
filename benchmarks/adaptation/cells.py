"""One cell of the table: a row with one seed, trained and scored, its result kept on disk."""

import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from adaptation.learning.data.class_statistics import count_classes
from adaptation.learning.data.data_choice import DataChoice
from adaptation.learning.data.labelled_frames import LabelledFrame, read_labels
from adaptation.learning.evaluation.evaluate import FrameLabeller, confusion_over, open_labeller, spread
from adaptation.learning.evaluation.scores import Scores, score
from adaptation.learning.methods.label_shift import prior_log_ratio
from adaptation.learning.networks.checkpoints import WEIGHTS_FILE
from adaptation.learning.rounds.learning import Numbers
from adaptation.learning.rounds.prior import NamedImage, PriorRecord, measure_prior
from adaptation.learning.rounds.region_requests import RegionBudget, answer_from_truth, request_regions
from adaptation.learning.rounds.run import adapt
from adaptation.learning.rounds.start import open_start
from adaptation.learning.rounds.work import Round
from adaptation.learning.training.processes import join_processes
from adaptation.learning.training.recipes import TrainingConfig
from adaptation.learning.training.record import RECORD_NAME
from adaptation.learning.training.source_data import open_source_data
from adaptation.learning.training.start import starting_network
from adaptation.learning.training.train import Run, SourceTraining, train
from benchmarks.adaptation.protocol import Protocol
from benchmarks.adaptation.rows import ROWS, Adjustment
from exchange.jobs.recipes import RoundConfig
from exchange.registry.releases import file_sha256

_CACHE_BYTES = 2 << 30


class Cell(BaseModel):
    """A finished cell."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    row: str
    seed: int
    target: dict[str, Scores]
    """By split: the row's own where labels were asked, else every one."""
    source: Scores
    ships: str
    seconds: float

    @classmethod
    def read(cls, path: Path) -> Self:
        return cls.model_validate_json(path.read_text())


@dataclass(frozen=True)
class Bench:
    """What all cells share."""

    protocol: Protocol
    work: Path
    start: Path | None
    """A release or a network's folder; None trains one for each seed."""
    start_recipe: TrainingConfig
    start_iterations: int
    shrink: RoundConfig | None
    """A miniature's crops, in the place of a recipe's."""
    iterations: int | None
    """Of every training but the start's; None leaves each recipe its own."""
    upper_iterations: int
    most_frames: int
    """At most so many frames of the source are scored, and of either domain measured for a prior."""

    def cells(self, row: str) -> list[str | None]:
        """The splits that a row is trained for; None stands for one training that serves all."""
        return list(self.protocol.splits) if ROWS[row].by_split else [None]

    def recipe(self, config: RoundConfig) -> RoundConfig:
        if self.iterations is not None:
            config = config.with_budget(self.iterations, "iterations")
        if self.shrink is None:
            return config
        fields = ("crops", "detail_hw", "batch_size", "measured_frames")
        return config.model_copy(update={name: getattr(self.shrink, name) for name in fields})


def run_cell(bench: Bench, row: str, seed: int, split: str | None) -> Cell:
    """Trains and scores a cell, or goes on with it where it was cut off; a finished one is read."""
    folder = bench.work / "cells" / f"{row}-{seed}{f'-{split}' if split else ''}"
    if (folder / "cell.json").exists():
        return Cell.read(folder / "cell.json")
    folder.mkdir(parents=True, exist_ok=True)
    started_s = time.monotonic()
    plan, start = ROWS[row], _start(bench, seed)
    network, ships = start, "-"
    if plan.recipe is not None:
        asked = None if plan.asked is None or split is None else _asked(bench, plan.asked(seed), start, split, folder)
        config = bench.recipe(plan.recipe)
        network = _round(bench, config, start, seed, asked, folder / "round")
        ships = _ships(config)
    elif plan.trained_on is not None:
        network = _fine_tuned(bench, start, seed, split, folder / "training")
    labeller = open_labeller(network, bench.protocol.frame_size, _device())
    if plan.adjustment is not None:
        labeller = replace(labeller, log_ratio=_log_ratio(bench, plan.adjustment, start, seed, folder / "prior"))
    cell = Cell(
        row=row,
        seed=seed,
        target={name: _score(bench, labeller, bench.protocol.splits[name].scored) for name in _scored(bench, split)},
        source=_score(bench, labeller, spread(bench.protocol.source_scored, bench.most_frames)),
        ships=ships,
        seconds=round(time.monotonic() - started_s, 1),
    )
    partial = folder / "cell.partial"
    partial.write_text(cell.model_dump_json(indent=1) + "\n")
    partial.rename(folder / "cell.json")
    for left in ("round/snapshot", "round/rectification", "round/self_training", "asked", "training"):
        shutil.rmtree(folder / left, ignore_errors=True)
    return cell


def _scored(bench: Bench, split: str | None) -> list[str]:
    return list(bench.protocol.splits) if split is None else [split]


def _score(bench: Bench, labeller: FrameLabeller, frames: Sequence[LabelledFrame]) -> Scores:
    confusion = confusion_over(labeller, frames, lambda done: _tell("scoring", done, len(frames)))
    return score(confusion, bench.protocol.classes, len(frames))


def _start(bench: Bench, seed: int) -> Path:
    """The network that every row of this seed starts from: the given one, or one trained on the source alone."""
    if bench.start is not None:
        return bench.start
    out = bench.work / f"start-{seed}"
    run = Run(bench.start_recipe, bench.start_iterations, seed, out)
    return _trained(run, None, [bench.protocol.source])


def _ships(config: RoundConfig) -> str:
    if config.self_training is not None:
        return config.self_training.ships
    return "rectified head" if config.pseudo_labels is None else "average"


def _fine_tuned(bench: Bench, start: Path, seed: int, split: str | None, out: Path) -> Path:
    """The start, trained on the source, and as much on the target's labels where there is a split."""
    run = Run(bench.start_recipe, bench.iterations or bench.upper_iterations, seed, out)
    target = [] if split is None else [bench.protocol.splits[split].labelled]
    return _trained(run, start, [bench.protocol.source, *target])


def _trained(run: Run, start: Path | None, choices: Sequence[DataChoice]) -> Path:
    if not (run.out / RECORD_NAME).exists():
        data = open_source_data(
            choices,
            run.config,
            seed=run.seed,
            cache_bytes=_CACHE_BYTES,
            threads=2,
            on_frame=lambda done, total: _tell("counting classes", done, total),
        )
        training = SourceTraining(run, starting_network(run.config, run.seed, start), data, join_processes())
        train(training, lambda done, _: _tell("training", done, run.iterations))
    return run.out


def _asked(bench: Bench, budget: RegionBudget, start: Path, split: str, folder: Path) -> Path:
    """Answers of the oracle to what the start would ask of the split's frames."""
    labelled = bench.protocol.splits[split].labelled.frames()
    labeller = open_labeller(start, bench.protocol.frame_size, _device())
    request_regions(
        folder / "asked",
        labeller,
        file_sha256(start / WEIGHTS_FILE),
        [frame.image for frame in labelled],
        budget,
        None,
        lambda done, total: _tell("asking", done, total),
    )
    return answer_from_truth(folder / "asked", labelled, None)


def _round(bench: Bench, config: RoundConfig, start: Path, seed: int, asked: Path | None, out: Path) -> Path:
    round_ = Round(
        config,
        start,
        [bench.protocol.source],
        bench.protocol.target.folder,
        out,
        seed=seed,
        target_split=bench.protocol.target.split or "train",
        asked=asked,
        frame_size=bench.protocol.frame_size,
        classes=bench.protocol.classes,
        export=False,
    )
    adapt(round_, lambda what, done, total, numbers: _tell(what, done, total, numbers))
    return out / "network"


def _log_ratio(bench: Bench, adjustment: Adjustment, start: Path, seed: int, folder: Path) -> tuple[float, ...]:
    folder.mkdir(exist_ok=True)
    target, source = bench.protocol.target.frames(), bench.protocol.source.frames()
    opened = open_start(start, bench.protocol.frame_size, _device())
    measure_prior(
        folder,
        opened.labeller,
        adjustment.estimator,
        [NamedImage(frame.image.stem, frame.image, frame.sequence) for frame in spread(target, bench.most_frames)],
        [frame.image for frame in spread(source, bench.most_frames)],
        np.stack([count_classes(read_labels(frame)) for frame in source]),
        opened.source_prior,
        seed,
        lambda done, total: _tell("measuring the prior", done, total),
    )
    prior = PriorRecord.read(folder)
    if not adjustment.fully:
        return tuple(prior.log_ratio)
    return tuple(prior_log_ratio(prior.target, prior.source, float("inf")).tolist())


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _tell(what: str, done: int, total: int, numbers: Numbers | None = None) -> None:
    if not sys.stdout.isatty():
        return
    loss = f", loss {numbers['loss']:.3f}" if numbers and "loss" in numbers else ""
    print(f"\r{what} {done}/{total}{loss}\033[K", end="\n" if done == total else "", flush=True)
