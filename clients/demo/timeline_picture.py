"""The story as a picture: accuracy, who answered and how fast over the time, and each class before and after."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from clients.demo.journal import SHOWN_IOU, Answer, Event, Journal, Point, class_iou, timeline
from clients.demo.tables import Stage
from exchange.label_space import CLASS_NAMES

_SIZE = (1600, 1180)
_LEFT, _RIGHT = 90, 1570
_INK, _FAINT, _PAPER = "#1f2933", "#cbd2d9", "#ffffff"
_DOMAIN_PAPER = {"sim-day": "#fff8e1", "sim-dusk": "#e8eaf6"}
_VERSION_INK = ("#e07a1f", "#1565c0", "#2e7d32", "#8e24aa")
_STAGE_INK = ("#d9a441", "#b0bec5", "#e07a1f", "#1565c0")
_BIN_S = 10.0


class _Panel(NamedTuple):
    """A rectangle of the picture, and the values at its bottom and its top."""

    top: int
    bottom: int
    low: float
    high: float

    def y(self, value: float) -> float:
        return self.bottom - (min(max(value, self.low), self.high) - self.low) / (self.high - self.low) * (
            self.bottom - self.top
        )


def draw_story(path: Path, journal: Journal, shown: Sequence[Stage], window: int) -> None:
    """Writes the PNG."""
    picture = Image.new("RGB", _SIZE, _PAPER)
    answers = journal.answers
    times = [*(answer.at_s for answer in answers), *(event.at_s for event in journal.events if event.mark)]
    _Drawing(ImageDraw.Draw(picture), min(times), max(times)).everything(
        answers, journal.events, timeline(answers, window), shown
    )
    picture.save(path)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


class _Drawing:
    """From the first answer or named event to the last."""

    def __init__(self, draw: ImageDraw.ImageDraw, begin_s: float, end_s: float) -> None:
        self._draw = draw
        self._begin_s = begin_s
        self._end_s = end_s

    def everything(
        self, answers: Sequence[Answer], events: Sequence[Event], points: Sequence[Point], shown: Sequence[Stage]
    ) -> None:
        self._draw.text((_LEFT, 18), "roadshift: one fleet, from day into dusk", _INK, _font(30))
        accuracy, share, speed = _Panel(190, 520, *SHOWN_IOU), _Panel(575, 645, 0, 1), _Panel(700, 800, 0, 3)
        self._domains(answers, accuracy.top, speed.bottom)
        self._axis(
            accuracy, "mIoU %; larger dots: with a prior", [(value / 100, str(value)) for value in range(20, 91, 10)]
        )
        self._axis(share, "answered by", [(0, "0"), (1, "all")])
        self._axis(speed, "latency, s", [(0, "0"), (1, "1"), (2, "2"), (3, "3")])
        self._events([event for event in events if event.mark], accuracy.top, speed.bottom)
        self._accuracy(accuracy, points)
        self._shares(share, answers)
        for answer in answers:
            self._dot(self._x(answer.at_s), speed.y(answer.latency_s), 2, self._ink(answer.version))
        self._times(speed.bottom)
        self._classes(_Panel(890, 1090, 0, 1), shown)

    def _x(self, at_s: float) -> float:
        return _LEFT + (at_s - self._begin_s) / (self._end_s - self._begin_s) * (_RIGHT - _LEFT)

    def _ink(self, version: int) -> str:
        return _VERSION_INK[(version - 1) % len(_VERSION_INK)]

    def _dot(self, x: float, y: float, radius: float, ink: str) -> None:
        self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=ink)

    def _domains(self, answers: Sequence[Answer], top: int, bottom: int) -> None:
        for name, paper in _DOMAIN_PAPER.items():
            times = [answer.at_s for answer in answers if answer.domain == name]
            if times:
                right = self._end_s if name == "sim-dusk" else max(times)
                self._draw.rectangle((self._x(min(times)), top, self._x(right), bottom), fill=paper)
                self._draw.text((self._x(min(times)) + 6, top + 6), name, "#7b8794", _font(16))

    def _axis(self, panel: _Panel, title: str, ticks: Sequence[tuple[float, str]]) -> None:
        self._draw.text((_LEFT, panel.top - 26), title, _INK, _font(18))
        for value, text in ticks:
            y = panel.y(value)
            self._draw.line((_LEFT, y, _RIGHT, y), fill=_FAINT)
            self._draw.text((_LEFT - 10, y), text, _INK, _font(16), anchor="rm")

    def _events(self, events: Sequence[Event], top: int, bottom: int) -> None:
        """Names that would overlap stand in other rows."""
        ends = [0.0] * 5
        for event in events:
            x, width = self._x(event.at_s), self._draw.textlength(event.mark, _font(16)) + 12
            row = next((row for row, end in enumerate(ends) if end <= x), len(ends) - 1)
            ends[row] = x + width
            y = 66 + 19 * row
            anchor, at = ("ra", x - 4) if x + width > _SIZE[0] else ("la", x + 4)
            self._draw.line((x, y, x, bottom), fill="#9aa5b1")
            self._draw.text((at, y), event.mark, _INK, _font(16), anchor=anchor)

    def _accuracy(self, panel: _Panel, points: Sequence[Point]) -> None:
        last: dict[tuple[str, int], Point] = {}
        for point in points:
            here = (self._x(point.at_s), panel.y(point.mean_iou))
            before = last.get((point.domain, point.version))
            if before is not None and point.at_s - before.at_s < 0.1 * (self._end_s - self._begin_s):
                line = (self._x(before.at_s), panel.y(before.mean_iou), *here)
                self._draw.line(line, fill=self._ink(point.version), width=3)
            self._dot(*here, 4 if point.has_prior else 2.5, self._ink(point.version))
            last[(point.domain, point.version)] = point
        for row, version in enumerate(sorted({point.version for point in points})):
            x = _RIGHT - 130
            y = panel.bottom - 24 - 22 * row
            self._dot(x, y, 6, self._ink(version))
            self._draw.text((x + 14, y), f"release {version}", _INK, _font(16), anchor="lm")

    def _shares(self, panel: _Panel, answers: Sequence[Answer]) -> None:
        for begin, counts in _by_bin(answers):
            low, total = 0.0, sum(counts.values())
            for version, count in sorted(counts.items()):
                box = (
                    self._x(begin),
                    panel.y(low + count / total),
                    min(self._x(begin + _BIN_S) - 1, _RIGHT),
                    panel.y(low),
                )
                self._draw.rectangle(box, fill=self._ink(version))
                low += count / total

    def _times(self, y: int) -> None:
        for minute in range(int((self._end_s - self._begin_s) // 60) + 1):
            self._draw.text(
                (self._x(self._begin_s + 60 * minute), y + 6), f"{minute} min", _INK, _font(16), anchor="ma"
            )

    def _classes(self, panel: _Panel, shown: Sequence[Stage]) -> None:
        self._axis(panel, "IoU % by class", [(value / 100, str(value)) for value in (0, 50, 100)])
        iou_SK = np.stack([class_iou(stage.confusion_KK) for stage in shown])
        known = [k for k in range(len(CLASS_NAMES)) if np.isfinite(iou_SK[:, k]).any()]
        cell = (_RIGHT - _LEFT) / len(known)
        width = (cell - 14) / len(shown)
        for place, k in enumerate(known):
            for number, iou in enumerate(iou_SK[:, k]):
                x = _LEFT + place * cell + 7 + number * width
                if np.isfinite(iou):
                    self._draw.rectangle((x, panel.y(iou), x + width - 1, panel.bottom), fill=_STAGE_INK[number])
            middle = _LEFT + (place + 0.5) * cell
            name = CLASS_NAMES[k].replace("traffic ", "")
            self._draw.text((middle, panel.bottom + 8), name, _INK, _font(14), anchor="ma")
        x = _LEFT + 190
        for number, stage in enumerate(shown):
            self._draw.rectangle((x, panel.top - 22, x + 14, panel.top - 8), fill=_STAGE_INK[number])
            text = f"{stage.title}: mean {100 * np.nanmean(iou_SK[number]):.1f}"
            self._draw.text((x + 20, panel.top - 26), text, _INK, _font(16))
            x += 50 + int(self._draw.textlength(text, _font(16)))


def _by_bin(answers: Sequence[Answer]) -> Iterator[tuple[float, dict[int, int]]]:
    """When each interval with answers begins, and how many each version gave in it."""
    first_s = answers[0].at_s
    bins: dict[int, dict[int, int]] = {}
    for answer in answers:
        counts = bins.setdefault(int((answer.at_s - first_s) // _BIN_S), {})
        counts[answer.version] = counts.get(answer.version, 0) + 1
    for number, counts in sorted(bins.items()):
        yield first_s + number * _BIN_S, counts
