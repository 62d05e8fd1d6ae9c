"""From cells to the table: gains over the start with their spread, intervals by blocks, and shares of the gap."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from adaptation.learning.evaluation.scores import score
from benchmarks.adaptation.cells import Cell, Counts
from benchmarks.adaptation.rows import ROWS, START, UPPER_BOUNDS
from benchmarks.report import Row

_RESAMPLED = 1000
_SMALL_GAP = 2.0
"""Points of a gap below which no share of it is told."""
_FIGURES: Mapping[str, tuple[str, str | None]] = {"camvid-dusk": ("camvid11", None), "bdd-night": ("19", "road")}
"""Scored subset and the class whose IoU counts, by shift; the city scores the mean over all 19."""


class Figure(NamedTuple):
    """What a row gains over its start on one truth, in points of IoU."""

    value: float
    gain: float
    spread: float
    """Standard deviation over the seeds; NaN for one."""
    low: float
    high: float
    """95 % interval of the gain, by resampling blocks of frames alike for the row and the start."""
    shipped_gain: float
    """The gain where what the gate refused counts as the start."""
    seeds: int


def iou(shift: str, counts_KK: NDArray[np.int64]) -> float:
    """Return the shift's figure in percent; NaN where nothing was labelled."""
    classes, alone = _FIGURES.get(shift, ("19", None))
    scores = score(counts_KK, classes, 1)
    value = scores.mean_iou if alone is None else scores.iou[alone]
    return math.nan if value is None else 100 * value


def figure(cells: Sequence[Cell], starts: Sequence[Cell], truth: str) -> Figure:
    """Compare the cells of one row with the starts' that have the same weights."""
    shift = starts[0].shift
    befores = [_start_of(cell, starts).target[truth].array for cell in cells]
    afters = [cell.target[truth].array for cell in cells]
    values = [iou(shift, after_BKK.sum(axis=0)) for after_BKK in afters]
    gains = [value - iou(shift, before_BKK.sum(axis=0)) for value, before_BKK in zip(values, befores, strict=True)]
    kept = [0.0 if cell.gate and not cell.gate.promoted else gain for cell, gain in zip(cells, gains, strict=True)]
    low, high = _interval(shift, befores, afters)
    spread = float(np.std(gains, ddof=1)) if len(gains) > 1 else math.nan
    return Figure(_mean(values), _mean(gains), spread, low, high, _mean(kept), len(cells))


def _start_of(cell: Cell, starts: Sequence[Cell]) -> Cell:
    return next(start for start in starts if start.start_sha256 == cell.start_sha256)


def table(cells: Sequence[Cell]) -> list[Row]:
    """Return one line for each shift, start and row that has cells of the row's present settings."""
    return [
        _line(shift, start, row, groups)
        for (shift, start), groups in _grouped(cells)
        if START in groups
        for row in ROWS
        if row in groups
    ]


def outdated(cells: Sequence[Cell]) -> int:
    """Return how many cells are of settings that their row has no more."""
    return sum(not cell.is_current for cell in cells)


def regrets(cells: Sequence[Cell]) -> list[Row]:
    """Return what each way from the start to the trained weights gains, beside the best of each cell."""
    rows: list[Row] = []
    for (shift, start), groups in _grouped(cells):
        for row, own in groups.items():
            if START not in groups or not own[0].interpolated:
                continue
            bases = [_value(_start_of(cell, groups[START]), _first_truth(cell)) for cell in own]
            gains = [
                {share: _of(shift, counts) - base for share, counts in cell.interpolated.items()}
                for cell, base in zip(own, bases, strict=True)
            ]
            best = [max(by_share.values()) for by_share in gains]
            for share in gains[0]:
                gained = [by_share[share] for by_share in gains]
                regret = _mean([most - gain for most, gain in zip(best, gained, strict=True)])
                found: Row = {"of the way": share, "n": len(own), "gain": _mean(gained), "regret": regret}
                rows.append({"shift, start": f"{shift}, {start}", "row": row, **found})
    return rows


def demands(cells: Sequence[Cell]) -> list[str]:
    """Tell what is demanded of the shipping round and whether the cells at hand show it."""
    lines = []
    for (shift, start), groups in _grouped(cells):
        if START not in groups or "round" not in groups:
            continue
        line = _line(shift, start, "round", groups)
        gain, gap, share = (float(line[name]) for name in ("shipped gain", "gap", "share of gap %"))
        found = [(f"at least -0.5 ({gain:+.2f})", gain >= -0.5)]
        if (shift, start) == ("camvid-dusk", "robust"):
            found.append((f"at least +1.0 ({gain:+.2f})", gain >= 1.0))
        wanted = {("bdd-night", "robust"): 45.0}.get((shift, start), 60.0 if start == "daylight" else math.nan)
        if gap >= _SMALL_GAP and not math.isnan(wanted):
            found.append((f"at least {wanted:.0f} % of the gap ({share:.0f} %)", share >= wanted))
        seeds = len(groups["round"])
        lines += [f"{'holds' if holds else 'FAILS'}: {shift}, {start}, n={seeds}: {what}" for what, holds in found]
    return lines


def _grouped(cells: Sequence[Cell]) -> Iterator[tuple[tuple[str, str], dict[str, list[Cell]]]]:
    """Yield the present cells of each shift and start by row; those whose start is not measured are left out."""
    groups: dict[tuple[str, str], dict[str, list[Cell]]] = defaultdict(lambda: defaultdict(list))
    for cell in sorted(cells, key=lambda cell: cell.seed):
        if cell.is_current:
            groups[cell.shift, cell.start][cell.row].append(cell)
    for key, by_row in groups.items():
        known = {cell.start_sha256 for cell in by_row[START]}
        measured = {row: [cell for cell in own if cell.start_sha256 in known] for row, own in by_row.items()}
        yield key, {row: own for row, own in measured.items() if own}


def _line(shift: str, start: str, row: str, groups: Mapping[str, Sequence[Cell]]) -> Row:
    cells, starts = groups[row], groups[START]
    truth = _first_truth(cells[0])
    own = figure(cells, starts, truth)
    others = [figure(cells, starts, name) for name in cells[0].target if name != truth]
    gap = _gap(groups)
    judged = [cell.gate.promoted for cell in cells if cell.gate]
    took = [cell.seconds / 60 for cell in cells if cell.seconds is not None]
    is_apart = truth != _first_truth(starts[0])
    share = math.nan if math.isnan(gap) or gap < _SMALL_GAP else 100 * _mean_gain(cells, starts) / gap
    return {
        "shift, start": f"{shift}, {start}",
        "row": ROWS[row].what + (f" ({truth})" if is_apart else ""),
        "n": own.seeds,
        "IoU %": own.value,
        "gain": own.gain,
        "sd": own.spread,
        "95 %": f"{own.low:+.1f} to {own.high:+.1f}",
        "shipped gain": own.shipped_gain,
        "elsewhere": _mean([other.gain for other in others]),
        "gap": gap,
        "share of gap %": share,
        "source": _mean([_of(shift, cell.source) - _of(shift, _start_of(cell, starts).source) for cell in cells]),
        "promoted": f"{sum(judged)} of {len(judged)}" if judged else "-",
        "minutes": _mean(took),
    }


def _gap(groups: Mapping[str, Sequence[Cell]]) -> float:
    """Return the better upper bound's gain on the truth apart from labels; NaN where there is none yet."""
    gains = [_mean_gain(groups[row], groups[START]) for row in UPPER_BOUNDS if row in groups]
    return max(gains, default=math.nan)


def _mean_gain(cells: Sequence[Cell], starts: Sequence[Cell]) -> float:
    """On the truth that is apart from every label: the last one of a cell."""
    truth = list(cells[0].target)[-1]
    return _mean([_value(cell, truth) - _value(_start_of(cell, starts), truth) for cell in cells])


def _interval(
    shift: str, befores: Sequence[NDArray[np.int64]], afters: Sequence[NDArray[np.int64]]
) -> tuple[float, float]:
    rng, blocks = np.random.default_rng(0), len(befores[0])
    gains = []
    for _ in range(_RESAMPLED):
        drawn = np.bincount(rng.integers(blocks, size=blocks), minlength=blocks)
        both = [
            [iou(shift, np.tensordot(drawn, each, 1)) for each in pair] for pair in zip(befores, afters, strict=True)
        ]
        gains.append(_mean([after - before for before, after in both]))
    low, high = np.nanquantile(gains, (0.025, 0.975))
    return float(low), float(high)


def _first_truth(cell: Cell) -> str:
    return next(iter(cell.target))


def _value(cell: Cell, truth: str) -> float:
    return _of(cell.shift, cell.target[truth])


def _of(shift: str, counts: Counts) -> float:
    return iou(shift, counts.array.sum(axis=0))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan
