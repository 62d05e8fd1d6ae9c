"""Confusion counts and what is read from them: IoU by class, their mean, over any of the scored class subsets."""

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from exchange.label_space import IGNORE_ID, NUM_CLASSES, SCORED_CLASSES


def count_confusion(truth: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Pixels by true class (rows) and predicted class (columns), int64 [19, 19].

    Args:
        truth: train ids of any shape; 255 counts nowhere.
        predicted: train ids of the same shape; where the truth counts, they must be below 19.

    Raises:
        ValueError: the shapes differ, or a prediction is no train id.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"truth {truth.shape} and prediction {predicted.shape} differ: restore the labels first")
    counted = truth != IGNORE_ID
    pairs = truth[counted].astype(np.int64) * 256 + predicted[counted]
    counts = np.bincount(pairs, minlength=NUM_CLASSES * 256).reshape(-1, 256)
    if counts.shape[0] > NUM_CLASSES or counts[:, NUM_CLASSES:].any():
        raise ValueError("truth and prediction must be train ids 0 to 18: convert the labels first")
    return counts[:, :NUM_CLASSES]


class Scores(BaseModel):
    """IoU of each scored class, None where neither truth nor prediction has it, and the mean of the others.

    Without a labelled pixel of a scored class there is no score: the figures are None, and so is every IoU.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: str
    """Which subset is scored: 19, 16, 13 or camvid11."""
    frames: int
    mean_iou: float | None
    pixel_accuracy: float | None
    iou: dict[str, float | None]
    true_pixels: dict[str, int]
    """Labelled pixels of each scored class: a small number means an unreliable IoU."""


def score(confusion: NDArray[np.int64], classes: str, frames: int) -> Scores:
    """Scores a confusion matrix [19, 19] over one of `SCORED_CLASSES`.

    Classes outside the subset get no IoU of their own, but a pixel of theirs that is taken for a scored class, or the
    reverse, still counts against that class, as in the published tables over 16 and 13 classes.
    """
    subset = SCORED_CLASSES[classes]
    count = len(subset.names)
    place = [count if to == IGNORE_ID else to for to in subset.from_train_id]
    merge = np.zeros((count + 1, NUM_CLASSES), dtype=np.int64)
    merge[place, range(NUM_CLASSES)] = 1
    merged = merge @ confusion @ merge.T
    hits = np.diag(merged)[:count]
    truth, predicted = merged.sum(axis=1)[:count], merged.sum(axis=0)[:count]
    union = truth + predicted - hits
    is_scored = bool(truth.any())
    seen = union > 0
    iou = [float(hit / of) if of and is_scored else None for hit, of in zip(hits, union, strict=True)]
    return Scores(
        classes=classes,
        frames=frames,
        mean_iou=float(np.mean(hits[seen] / union[seen])) if is_scored else None,
        pixel_accuracy=float(np.trace(merged) / merged.sum()) if is_scored else None,
        iou=dict(zip(subset.names, iou, strict=True)),
        true_pixels=dict(zip(subset.names, truth.tolist(), strict=True)),
    )
