"""The adapted network beside the one it started from, on the target's frames."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from adaptation.learning.data.class_statistics import count_classes, pixel_frequency
from adaptation.learning.evaluation.evaluate import FrameLabeller
from adaptation.learning.evaluation.scores import Scores, count_confusion, score
from adaptation.learning.rounds.prior import read_frame_evidence
from adaptation.learning.rounds.snapshot import FrozenFrame, read_truth
from exchange.images.labels import decode_index_png, encode_gray_png
from exchange.label_space import NUM_CLASSES

EVALUATION_FILE = "evaluation.json"


class Evaluation(BaseModel):
    """One row before, one after. Shares are of predicted pixels, 19 entries."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    frames: int
    shares_before: list[float]
    shares_after: list[float]
    agreement: float
    """Share of pixels that both label alike."""
    mean_confidence_before: float
    mean_confidence_after: float
    scores_before: Scores | None
    """Against the target's own labels; None where it has none of the scored classes."""
    scores_after: Scores | None

    @classmethod
    def read(cls, folder: Path) -> Self:
        return cls.model_validate_json((folder / EVALUATION_FILE).read_text())

    def figures(self) -> dict[str, float]:
        """What a release's manifest tells of it, by name."""
        figures = {"agreement": self.agreement, "mean_confidence": self.mean_confidence_after}
        scored = {"mean_iou_before": self.scores_before, "mean_iou": self.scores_after}
        means = {name: scores.mean_iou for name, scores in scored.items() if scores is not None}
        return figures | {name: mean for name, mean in means.items() if mean is not None}


def evaluate_round(
    folder: Path,
    labeller: FrameLabeller,
    snapshot: Path,
    frames: Sequence[FrozenFrame],
    labels_before: Path,
    mean_confidence_before: float,
    classes: str,
    on_frame: Callable[[int, int], None],
) -> None:
    """Labels the frames anew (to labels/<name>.png) and compares with the labels of before; writes evaluation.json.

    Args:
        labels_before: folder with the start's labels of the same frames.
        classes: the scored subset, a name of `SCORED_CLASSES`.
    """
    (folder / "labels").mkdir(exist_ok=True)
    shape = (NUM_CLASSES, NUM_CLASSES)
    confusions = {"before": np.zeros(shape, np.int64), "after": np.zeros(shape, np.int64)}
    counts = {"before": np.zeros(NUM_CLASSES, np.int64), "after": np.zeros(NUM_CLASSES, np.int64)}
    alike, confidence, scored = 0, 0.0, 0
    labeller = labeller.for_frames(len(frames))
    for done, frame in enumerate(frames, start=1):
        reading = read_frame_evidence(labeller, snapshot / frame.image, done)
        (folder / "labels" / f"{frame.name}.png").write_bytes(encode_gray_png(reading.labels_HW))
        before_HW = decode_index_png((labels_before / f"{frame.name}.png").read_bytes())
        alike += int((before_HW == reading.labels_HW).sum())
        confidence += reading.confidence / len(frames)
        truth_HW = read_truth(snapshot, frame)
        scored += truth_HW is not None
        for when, labels_HW in (("before", before_HW), ("after", reading.labels_HW)):
            counts[when] += count_classes(labels_HW)
            if truth_HW is not None:
                confusions[when] += count_confusion(truth_HW, labels_HW)
        on_frame(done, len(frames))
    evaluation = Evaluation(
        frames=len(frames),
        shares_before=pixel_frequency(counts["before"]).tolist(),
        shares_after=pixel_frequency(counts["after"]).tolist(),
        agreement=alike / int(counts["after"].sum()),
        mean_confidence_before=mean_confidence_before,
        mean_confidence_after=confidence,
        scores_before=_scores(confusions["before"], classes, scored),
        scores_after=_scores(confusions["after"], classes, scored),
    )
    (folder / EVALUATION_FILE).write_text(evaluation.model_dump_json(indent=2) + "\n")


def _scores(confusion_KK: NDArray[np.int64], classes: str, frames: int) -> Scores | None:
    found = score(confusion_KK, classes, frames)
    return None if found.mean_iou is None else found
