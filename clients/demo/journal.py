"""What became of every frame of the story, and what follows from it: accuracy by version, prior and time."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from exchange.label_space import NUM_CLASSES

FrameId = tuple[str, int, int]
"""Domain, street and moment: two answers to the same one can be compared."""
_FEWEST_OF_A_WINDOW = 12
SHOWN_IOU = (0.2, 0.9)
"""Of a window, in the picture and in the terminal; what lies beyond is drawn at the edge."""


@dataclass(frozen=True)
class Answer:
    """A frame that was answered."""

    at_s: float
    frame: FrameId
    version: int
    has_prior: bool
    latency_s: float
    confusion_KK: NDArray[np.int64]
    """Truth by row, answer by column."""

    @property
    def domain(self) -> str:
        return self.frame[0]


class Event(NamedTuple):
    at_s: float
    text: str
    mark: str
    """Few words, for the picture."""


class Point(NamedTuple):
    """Accuracy over the frames of one domain and version up to a moment."""

    at_s: float
    domain: str
    version: int
    has_prior: bool
    mean_iou: float


@dataclass
class Journal:
    """Written by the fleet's thread and read by the storyteller's."""

    started_s: float = field(default_factory=time.monotonic)
    failures: Counter[str] = field(default_factory=Counter)
    events: list[Event] = field(default_factory=list)
    _answers: list[Answer] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def now_s(self) -> float:
        return time.monotonic() - self.started_s

    @property
    def answers(self) -> list[Answer]:
        with self._changed:
            return list(self._answers)

    def add(self, answer: Answer) -> None:
        with self._changed:
            self._answers.append(answer)
            self._changed.notify_all()

    def note(self, text: str, mark: str = "") -> None:
        self.events.append(Event(self.now_s, text, mark))

    def wait_for(self, reached: Callable[[Sequence[Answer]], bool], within_s: float) -> bool:
        """Whether the answers came to be so in time; what is given to `reached` must not be kept."""
        with self._changed:
            return self._changed.wait_for(lambda: reached(self._answers), within_s)


def confusion_of(answers: Sequence[Answer]) -> NDArray[np.int64]:
    """Of the last answer to each frame, int64 [K, K]."""
    last = {answer.frame: answer for answer in answers}
    return sum((answer.confusion_KK for answer in last.values()), np.zeros((NUM_CLASSES, NUM_CLASSES), np.int64))


def class_iou(confusion_KK: NDArray[np.int64]) -> NDArray[np.float64]:
    """[K]; NaN for classes that the truth does not hold, so that the same frames are scored over the same classes."""
    truth_K, hits_K = confusion_KK.sum(axis=1), np.diag(confusion_KK)
    union_K = truth_K + confusion_KK.sum(axis=0) - hits_K
    return np.where(truth_K > 0, hits_K / np.maximum(union_K, 1), np.nan)


def mean_iou(confusion_KK: NDArray[np.int64]) -> float:
    """Over the classes of the truth; NaN where there is none."""
    iou_K = class_iou(confusion_KK)
    return float(np.nanmean(iou_K)) if np.isfinite(iou_K).any() else float("nan")


def timeline(answers: Sequence[Answer], window: int) -> list[Point]:
    """The accuracy over each version's last `window` frames of a domain, at every frame from the first few on.

    Frames without any labelled pixel make no point.
    """
    kept: dict[tuple[str, int], list[Answer]] = {}
    points = []
    for answer in answers:
        recent = kept.setdefault((answer.domain, answer.version), [])
        recent.append(answer)
        del recent[:-window]
        if len(recent) >= min(window, _FEWEST_OF_A_WINDOW):
            score = mean_iou(confusion_of(recent))
            if np.isfinite(score):
                points.append(Point(answer.at_s, answer.domain, answer.version, answer.has_prior, score))
    return points
