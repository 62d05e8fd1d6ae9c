"""A round as it was asked for, and what its steps have at hand."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from adaptation.learning.data.crop_stream import CropStream, LabelledCrops
from adaptation.learning.data.data_choice import DataChoice
from adaptation.learning.evaluation.evaluate import FrameLabeller, spread
from adaptation.learning.networks.checkpoints import load_network
from adaptation.learning.networks.hrda import HRDA
from adaptation.learning.rounds.crops import (
    RoundCrops,
    TargetCrops,
    TargetStream,
    open_source_stream,
    open_stream_of_both,
)
from adaptation.learning.rounds.learning import Numbers, seed_of
from adaptation.learning.rounds.prior import PriorRecord
from adaptation.learning.rounds.pseudo_labels import pseudo_labelled
from adaptation.learning.rounds.snapshot import FrozenFrame, Snapshot
from adaptation.learning.rounds.start import Start
from adaptation.learning.rounds.steps import RoundError
from adaptation.learning.training.processes import Processes
from exchange.jobs.recipes import RoundConfig
from exchange.jobs.round_files import CHOSEN_DRIVES

OnProgress = Callable[[str, int, int, Numbers], None]
"""Takes what is being done, how much of it is done, how much there is, and a training's numbers."""

RECTIFICATION, SELF_TRAINING, DISTILLATION, LABEL_TRAINING = range(4)
"""The trainings, each with random choices of its own."""


@dataclass(frozen=True)
class Round:
    """What decides a round's result, and where it is written."""

    config: RoundConfig
    start: Path
    """A release or a network's folder."""
    sources: Sequence[DataChoice]
    target: Path
    out: Path
    seed: int = 0
    target_split: str = "train"
    asked: Path | None = None
    """Folder of train-id PNGs that people labelled, 255 where not asked."""
    student: Path | None = None
    """The small network's folder that the adapted one teaches, where the recipe distils."""
    frame_size: tuple[int, int] | None = None
    classes: str = "19"
    """The subset that is scored, where the target has labels."""
    export: bool = True
    """Whether a release is built of the network, with the start's engine."""
    checkpoint_every_s: float = 60.0


@dataclass(frozen=True)
class Work:
    """A round under way. Networks pass from step to step through the disk alone, so that resuming changes nothing."""

    round: Round
    start: Start
    on_progress: OnProgress
    processes: Processes

    @cached_property
    def config(self) -> RoundConfig:
        return self.round.config.for_frames(self.start.labeller.frame_size)

    @property
    def device(self) -> torch.device:
        return self.processes.device

    @property
    def snapshot(self) -> Path:
        return self.round.out / "snapshot"

    @cached_property
    def prior(self) -> PriorRecord:
        return PriorRecord.read(self.round.out / "prior")

    @cached_property
    def measured_frames(self) -> list[FrozenFrame]:
        """The target frames that are labelled before and after. Raises RoundError where there is none."""
        fair = Snapshot.read(self.snapshot).fair_frames
        if not fair:
            raise RoundError(
                f"every frame of {self.round.target} was chosen for people ({CHOSEN_DRIVES}/), so nothing stands for"
                " the target where it is measured: add frames that chance kept"
            )
        return spread(fair, self.config.measured_frames)

    @cached_property
    def pseudo_labelled_frames(self) -> list[FrozenFrame]:
        """The target frames that are given labels; those with a person's come first."""
        settings = self.config.pseudo_labels
        frames = sorted(Snapshot.read(self.snapshot).frames, key=lambda frame: frame.asked_sha256 is None)
        asked = [frame for frame in frames if frame.asked_sha256 is not None]
        wanted = 0 if settings is None else settings.frames
        return asked[:wanted] + spread(frames[len(asked) :], max(wanted - len(asked), 0))

    def log_ratio(self) -> Tensor:
        return torch.tensor(self.prior.log_ratio, dtype=torch.float32, device=self.device)

    def network(self, folder: Path) -> HRDA:
        described = self.start.config if folder == self.round.start else None  # a release lacks network.json
        network = load_network(folder, described).to(self.device)
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's types

    def labeller(self, folder: Path) -> FrameLabeller:
        return replace(self.start.labeller, network=self.network(folder))

    def seed(self, training: int) -> int:
        return seed_of(self.round.seed, training)

    def source_crops(self, training: int) -> Callable[[int], LabelledCrops]:
        """The source's batch of each iteration."""
        source = self._source(training)
        return lambda iteration: source.crops(self._numbers(iteration))

    def both_crops(self, training: int) -> Callable[[int], RoundCrops]:
        """Both domains' batches of each iteration."""
        source = self._source(training)
        target = TargetStream(self.snapshot, self.config, seed_of(self.seed(training), 1))

        def draw(iteration: int) -> RoundCrops:
            numbers = self._numbers(iteration)
            return RoundCrops(source.crops(numbers), target.crops(numbers))

        return draw

    def labelled_crops(self, training: int, labels: Path) -> Callable[[int], LabelledCrops]:
        """Both domains' labelled crops, drawn alike; the target's bear pseudo-labels."""
        target = pseudo_labelled(labels, self.snapshot)
        seed = seed_of(self.seed(training), 0)
        both = open_stream_of_both(self.snapshot, self.round.sources, target, self.config, seed)
        return lambda iteration: both.crops(self._numbers(iteration))

    def target_crops(self, training: int) -> Callable[[int], TargetCrops]:
        """The target's batch of each iteration."""
        target = TargetStream(self.snapshot, self.config, seed_of(self.seed(training), 1))
        return lambda iteration: target.crops(self._numbers(iteration))

    def progress(self, what: str) -> Callable[[int, int, Numbers], None]:
        return lambda done, total, numbers: self.on_progress(what, done, total, numbers)

    def counter(self, what: str) -> Callable[[int, int], None]:
        return lambda done, total: self.on_progress(what, done, total, {})

    def _source(self, training: int) -> CropStream:
        return open_source_stream(self.snapshot, self.round.sources, self.config, seed_of(self.seed(training), 0))

    def _numbers(self, iteration: int) -> range:
        """This process's part of an iteration's batch."""
        size = self.config.batch_size
        return self.processes.share_of(range(iteration * size, (iteration + 1) * size))
