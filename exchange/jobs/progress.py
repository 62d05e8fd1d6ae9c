"""A worker's progress, as the learner reads it."""

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from exchange.jobs.round_files import write_whole
from exchange.storage.records import Record

_PROGRESS_EVERY_S = 0.25
_CURVE_POINTS = 256


class CurvePoint(Record):
    step: str
    done: int
    numbers: dict[str, float]


class Progress(Record):
    """How far a worker is; replaced as it goes."""

    format: Literal[1] = 1
    step: str
    done: int = Field(ge=0)
    total: int = Field(ge=0)
    numbers: dict[str, float] = Field(default={})
    paused: str = ""
    """Why it stands still; empty while it works."""
    worked_s: float = 0.0
    """How long the worker has run in all, pauses left out."""
    curve: tuple[CurvePoint, ...] = ()
    """Of the trainings' numbers, thinned to a few hundred points."""


class ProgressFile:
    """Tells the learner how far the worker is; takes what `adaptation.learning.rounds` calls back with."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._step = ""
        self._next_s = 0.0
        self._curve: list[CurvePoint] = []

    def __call__(self, step: str, done: int, total: int, numbers: Mapping[str, float]) -> None:
        known = {name: float(value) for name, value in numbers.items() if math.isfinite(value)}
        if known:
            self._curve.append(CurvePoint(step=step, done=done, numbers=known))
            if len(self._curve) > _CURVE_POINTS:
                del self._curve[1::2]
        now_s = time.monotonic()
        if step == self._step and done < total and now_s < self._next_s:
            return
        self._step, self._next_s = step, now_s + _PROGRESS_EVERY_S
        progress = Progress(step=step, done=done, total=total, numbers=known, curve=tuple(self._curve))
        write_whole(self._path, progress.encode())
