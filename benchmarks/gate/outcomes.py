"""What became of each candidate: what the gate said, and what is true."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from adaptation.learning.data.labelled_frames import DataError, read_labels
from adaptation.learning.evaluation.evaluate import spread
from adaptation.learning.export.calibration import fit_labelled
from adaptation.learning.export.release import ExportSettings, SourceStatistics, export_release
from adaptation.learning.gate.judge import judge
from adaptation.learning.gate.measure import OnFrame, TargetFrame, measure
from adaptation.learning.gate.measurements import GateMeasurements
from benchmarks.gate.city import City
from benchmarks.report import Row
from exchange.images.frame_fitting import fit_frame
from exchange.images.labels import encode_gray_png
from exchange.jobs.limits import GateLimits
from exchange.jobs.verdict import Verdict
from exchange.networks import whole_frame_windows

BETTER, WORSE, SOURCE_LOST = 0.01, 0.01, 0.02
"""Of mIoU: from which change on a candidate is truly better or worse on the target, or has lost the source."""
_CALIBRATION_FRAMES = 16
_PARITY_FRAMES = 2

Truth = Literal["better", "equal", "worse"]


@dataclass(frozen=True)
class Outcome:
    candidate: str
    what: str
    measured: GateMeasurements
    """What the judge sees is without the truth, which is kept where people's labels would be."""

    @property
    def verdict(self) -> Verdict:
        return judge(self.measured.model_copy(update={"sentinel": None}), GateLimits())

    @property
    def true_iou(self) -> tuple[float, float]:
        """Of incumbent and candidate on the target."""
        assert self.measured.sentinel is not None  # noqa: S101  # measured with the truth
        return self.measured.sentinel.mean_iou("incumbent"), self.measured.sentinel.mean_iou("candidate")

    @property
    def true_accuracy(self) -> tuple[float, float]:
        assert self.measured.sentinel is not None  # noqa: S101
        confusions = np.array(self.measured.sentinel.incumbent), np.array(self.measured.sentinel.candidate)
        before, after = (float(np.trace(confusion_KK) / confusion_KK.sum()) for confusion_KK in confusions)
        return before, after

    @property
    def source_lost(self) -> float:
        assert self.measured.sources is not None  # noqa: S101
        return max(scores.mean_iou("incumbent") - scores.mean_iou("candidate") for scores in self.measured.sources)

    @property
    def truth(self) -> Truth:
        before, after = self.true_iou
        if after < before - WORSE or self.source_lost > SOURCE_LOST:
            return "worse"
        return "better" if after >= before + BETTER else "equal"

    def row(self) -> Row:
        target = self.measured.target
        verdict = self.verdict
        row: dict[str, str | int | float] = {
            "candidate": self.candidate,
            "what": self.what,
            "truth": self.truth,
            "gate": "accepted" if verdict.passed else "refused",
            "target mIoU": 100 * self.true_iou[1],
            "source lost": 100 * self.source_lost,
            "accuracy": 100 * self.true_accuracy[1],
        }
        if target is not None:
            row |= {
                "estimated": 100 * target.estimated_accuracy[1],
                "own ATC": 100 * target.candidate_atc,
                "judge's": 100 * target.candidate_believed,
            }
        return row | {"refused by": "; ".join(check.name for check in verdict.checks if not check.passed)}


def build_release(network: Path, out: Path, city: City, statistics: SourceStatistics) -> Path:
    """The network as a release, calibrated on frames of the source that it was not trained on."""
    if not out.exists():
        size = city.size_hw
        held_out = spread(city.source_held_out.frames(), _CALIBRATION_FRAMES)
        labelled = [fit_labelled(frame, size) for frame in held_out]
        export_release(
            network,
            out,
            ExportSettings("openvino", "fp32", size, whole_frame_windows(size)),
            statistics,
            (frame for frame, _ in labelled[:_PARITY_FRAMES]),
            held_out=labelled,
        )
    return out


def measure_candidate(
    release: Path, incumbent: Path, city: City, truth: Path, kept: Path, on_frame: OnFrame
) -> GateMeasurements:
    """What `measure` finds, with the target's truth where people's labels would be; kept as JSON.

    Raises:
        DataError: target or source has no labelled pixel.
    """
    if not kept.exists():
        target = [TargetFrame(frame.image, _drive(frame.image)) for frame in city.target_held_out.frames()]
        measured = measure(
            release, incumbent, [city.source_held_out], target, sentinel=truth, threads=1, on_frame=on_frame
        )
        partial = kept.with_suffix(".partial")
        partial.write_bytes(measured.encode())
        partial.rename(kept)
    kept_measured = GateMeasurements.decode(kept.read_bytes(), str(kept))
    for scores in (kept_measured.sentinel, *(kept_measured.sources or ())):
        if scores is not None and not scores.labelled.any():
            raise DataError(f"{scores.data} has no labelled pixel to tell the truth by: render the city anew")
    return kept_measured


def write_truth(city: City, folder: Path) -> Path:
    """The held-out target's labels, named like its frames."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for frame in city.target_held_out.frames():
        labels_HW = fit_frame(read_labels(frame)[..., None].repeat(3, axis=2), city.size_hw)[0][..., 0]
        (folder / f"{frame.image.stem}.png").write_bytes(encode_gray_png(labels_HW))
    return folder


def _drive(image: Path) -> str:
    """<city>_<drive>_<frame>_leftImg8bit.png"""
    return image.name.split("_")[1]
