"""Measures a candidate beside the incumbent: every release by its own engine, on the same frames."""

import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from adaptation.learning.data.data_choice import DataChoice
from adaptation.learning.data.label_pairs import check_pairs, label_files
from adaptation.learning.data.labelled_frames import DataError, LabelledFrame, read_frame, read_image
from adaptation.learning.evaluation.evaluate import spread
from adaptation.learning.evaluation.scores import count_confusion
from adaptation.learning.export.build_tensorrt import TensorRTError
from adaptation.learning.export.parity import LEAST_AGREEMENT, measure_parity
from adaptation.learning.gate.contestants import Contestant
from adaptation.learning.gate.judging_views import opinion
from adaptation.learning.gate.measurements import (
    EngineMeasurements,
    GateMeasurements,
    LabelledScores,
    TargetMeasurements,
)
from adaptation.learning.gate.target_tally import TargetTally
from adaptation.learning.networks.checkpoints import CheckpointError
from exchange.images.frame_fitting import fit_frame
from exchange.label_space import CLASS_NAMES, NUM_CLASSES
from exchange.plan.priors import LiveEstimate
from exchange.registry.releases import ReleaseError

_ERRORS = (ReleaseError, CheckpointError, TensorRTError, RuntimeError, ValueError)
"""What a broken release answers with; wrong data is the caller's affair."""
_PARITY_FRAMES = 4
_TIMED_TURNS, _TIMED_S = 12, 2.0
"""At least that many, and for that long: a quick engine's time is noise otherwise."""
_STYLES = 8

OnFrame = Callable[[str, int, int], None]
"""Takes what is being measured, how many frames are done, and of how many."""


class TargetFrame(NamedTuple):
    image: Path
    drive: str
    """Whose frames stand or fall together in the prior's interval."""


def measure(
    candidate: Path,
    incumbent: Path,
    source: Sequence[DataChoice],
    target: Sequence[TargetFrame],
    *,
    sentinel: Path | None = None,
    sentinel_frames: Sequence[TargetFrame] | None = None,
    prior: LiveEstimate | None = None,
    anchor: Path | None = None,
    source_frames: int = 48,
    target_frames: int = 96,
    threads: int = 0,
    on_frame: OnFrame = lambda what, done, total: None,
) -> GateMeasurements:
    """Runs both releases on source and target; what the candidate makes impossible is left out, with its reason.

    Args:
        candidate, incumbent: releases' folders.
        source: labelled data that neither was trained on.
        target: unlabelled frames of where it is to serve.
        sentinel: folder of train-id PNGs named like frames of the target, 255 where nobody was asked; no training saw
            them.
        sentinel_frames: those frames, where they are not among `target`.
        prior: of the target; by default measured with the incumbent on these frames.
        anchor: the release that judges in the incumbent's place, for an incumbent that has itself been self-trained.
        source_frames, target_frames: at most so many of each source and of the target, evenly spread.
        threads: cores of one inference; 0 means all.

    Raises:
        DataError: frames or labels are missing or damaged.
        ReleaseError, CheckpointError, TensorRTError: incumbent or anchor cannot be loaded.
    """
    try:
        ours = Contestant(candidate, threads)
    except (*_ERRORS, OSError) as error:
        return GateMeasurements(trouble={"candidate": _told(error)})
    its = Contestant(incumbent, threads)
    judge = its if anchor in (None, incumbent) else Contestant(anchor, threads)
    gate = _Gate(ours, its, judge, on_frame)
    chosen = spread(list(target), target_frames)
    styles = [frame.image for choice in source for frame in spread(choice.frames(), _STYLES)]
    parts: dict[str, Callable[[], object]] = {
        "sources": lambda: gate.sources(source, source_frames),
        "sentinel": lambda: None if sentinel is None else gate.sentinel(sentinel, sentinel_frames or target),
        "target": lambda: gate.target(chosen, styles, prior),
        "engine": lambda: gate.engine([frame.image for frame in spread(chosen, _PARITY_FRAMES)]),
    }
    found: dict[str, object] = {}
    trouble: dict[str, str] = {}
    for part, do in parts.items():
        try:
            found[part] = do()
        except _ERRORS as error:
            trouble[part] = _told(error)
    return GateMeasurements.model_validate({**found, "trouble": trouble})


class _Gate:
    def __init__(self, candidate: Contestant, incumbent: Contestant, judge: Contestant, on_frame: OnFrame) -> None:
        self._candidate, self._incumbent, self._judge, self._on_frame = candidate, incumbent, judge, on_frame

    def sources(self, choices: Sequence[DataChoice], most: int) -> tuple[LabelledScores, ...]:
        return tuple(self._labelled(choice.folder.name, spread(choice.frames(), most), "source") for choice in choices)

    def sentinel(self, labels: Path, target: Sequence[TargetFrame]) -> LabelledScores:
        """Raises DataError where the folder holds no label, one of no target frame, or one of two."""
        images = {frame.image.stem: frame for frame in target}
        files = label_files(labels)
        if not files or (strangers := [file for file in files if file.stem not in images]):
            stranger = f"{strangers[0].name} is named like no target frame" if files else "it holds no PNG"
            raise DataError(f"{labels}: {stranger}: give train-id PNGs named like frames of the target")
        check_pairs(files, (frame.image for frame in target))
        frames = [LabelledFrame(images[file.stem].image, file, "train", images[file.stem].drive) for file in files]
        return self._labelled(labels.name, frames, "labelled target")

    def target(
        self, frames: Sequence[TargetFrame], styles: Sequence[Path], prior: LiveEstimate | None
    ) -> TargetMeasurements:
        tally = TargetTally(self._candidate, self._incumbent)
        looks = [read_image(path) for path in styles]
        for index, frame in enumerate(frames):
            image_HW3 = read_image(frame.image)
            ours, its = self._candidate.read(image_HW3), self._incumbent.read(image_HW3)
            plain = its if self._judge is self._incumbent else self._judge.read(image_HW3)
            sober = opinion(self._judge, image_HW3, self._judge.probabilities(plain), looks[index % len(looks)])
            tally.add(frame.drive, ours, its, sober)
            self._on_frame("target", index + 1, len(frames))
        return tally.measurements(self._judge is not self._incumbent, prior)

    def engine(self, images: Sequence[Path]) -> EngineMeasurements:
        if not images:
            raise ValueError("no target frame to run the engine on")
        manifest = self._candidate.manifest
        parity = measure_parity(
            self._candidate.release_dir,
            manifest,
            (fit_frame(read_image(path), manifest.frame_size) for path in images),
            lambda done: self._on_frame("engine", done, len(images)),
        )
        judged_K = np.where(parity.judged, parity.class_iou, np.nan)
        worst = None if np.isnan(judged_K).all() else int(np.nanargmin(judged_K))
        candidate_s, incumbent_s = self._fastest(read_image(images[0]))
        return EngineMeasurements(
            parity_agreement=parity.agreement,
            parity_worst_class=None if worst is None else CLASS_NAMES[worst],
            parity_worst_iou=None if worst is None else float(judged_K[worst]),
            parity_passes=parity.passes,
            least_agreement=LEAST_AGREEMENT[manifest.precision],
            candidate_s=candidate_s,
            incumbent_s=incumbent_s,
        )

    def _fastest(self, image_HW3: NDArray[np.uint8]) -> tuple[float, float]:
        """Seconds that candidate and incumbent take for a frame; who begins changes, for the second finds it warm."""
        seconds: dict[Contestant, list[float]] = {self._candidate: [], self._incumbent: []}
        enough_s = time.monotonic() + _TIMED_S
        for turn in itertools.count():
            if turn >= _TIMED_TURNS and time.monotonic() > enough_s:
                break
            for contestant in list(seconds)[:: 1 if turn % 2 else -1]:
                seconds[contestant].append(contestant.read(image_HW3).seconds)
        return min(seconds[self._candidate]), min(seconds[self._incumbent])

    def _labelled(self, data: str, frames: Sequence[LabelledFrame], what: str) -> LabelledScores:
        ours_KK, its_KK = (np.zeros((NUM_CLASSES, NUM_CLASSES), np.int64) for _ in range(2))
        for done, frame in enumerate(frames, start=1):
            image_HW3, truth_HW = read_frame(frame)
            ours_KK += count_confusion(truth_HW, self._candidate.label(image_HW3, truth_HW))
            its_KK += count_confusion(truth_HW, self._incumbent.label(image_HW3, truth_HW))
            if self._judge is not self._incumbent:
                self._judge.label(image_HW3, truth_HW)
            self._on_frame(what, done, len(frames))
        return LabelledScores.of(data, len(frames), its_KK, ours_KK)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
