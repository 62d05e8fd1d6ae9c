"""From finished cells to the table: means over seeds with intervals, and the share of the gap that a row closes."""

import math
from collections.abc import Sequence

import numpy as np

from adaptation.learning.evaluation.scores import Scores
from benchmarks.adaptation.cells import Cell
from benchmarks.adaptation.rows import ROWS, SOURCE_ONLY, UPPER_BOUND
from benchmarks.report import Row

FEWEST_PIXELS = 10_000
"""Classes with fewer labelled pixels among the scored frames are left out of the mean over large classes."""
_T_95 = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}
"""Student's t by the number of seeds: 95 % of the mass lies within."""


def summarize(cells: Sequence[Cell], splits: Sequence[str]) -> list[Row]:
    """One row of figures a row of the benchmark that has cells, in percent, in the order of `ROWS`."""
    return [_row(name, cells, splits) for name in ROWS if any(cell.row == name for cell in cells)]


def class_table(cells: Sequence[Cell], split: str) -> list[Row]:
    """IoU class by class on one split, in percent, mean over seeds."""
    rows: list[Row] = []
    for name, plan in ROWS.items():
        scores = [cell.target[split] for cell in cells if cell.row == name and split in cell.target]
        if scores:
            iou = {
                title: _mean([100 * value for one in scores if (value := one.iou[title]) is not None])
                for title in scores[0].iou
            }
            rows.append({"row": plan.what, **iou})
    return rows


def verdicts(rows: Sequence[Row], splits: Sequence[str]) -> list[str]:
    """What is demanded of the table, and whether the rows at hand show it; nothing on rows that are missing."""
    by_name = {name: row for name, plan in ROWS.items() for row in rows if row["row"] == plan.what}

    def figure(name: str, column: str) -> float:
        return float(by_name[name][column]) if name in by_name else math.nan

    split = splits[0]
    demands = [(f"all together closes 50 % of the gap on {split}", figure("full", f"gap closed, {split}"), 50.0)]
    for name in by_name.keys() - {"source", "naive", "upper"}:
        for column, loss in ((split, 1.0), ("source", 2.0)):
            least = figure("source", column) - loss
            demands.append((f"{ROWS[name].what} loses at most {loss:.0f} on {column}", figure(name, column), least))
    for asked, at_random in (("ripu", "random"), ("ripu-clicks", "random-clicks")):
        found, least = figure(asked, split), figure(at_random, split)
        demands.append((f"{ROWS[asked].what} beats random places on {split}", found, least))
    demands.append(("RIPU 2.2 % comes within 2 of the upper bound", figure("ripu", split), figure("upper", split) - 2))
    return [
        f"{'holds' if found >= least else 'FAILS'}: {what} ({found:.1f}, wanted {least:.1f})"
        for what, found, least in demands
        if not math.isnan(found) and not math.isnan(least)
    ]


def mean_percent(scores: Scores) -> float:
    """Mean IoU in percent; NaN where nothing was labelled."""
    return math.nan if scores.mean_iou is None else 100 * scores.mean_iou


def mean_of_large_classes(scores: Scores) -> float:
    """Mean IoU over the classes that the scored frames show enough of; NaN where there is none."""
    large = [iou for name, iou in scores.iou.items() if iou is not None and scores.true_pixels[name] >= FEWEST_PIXELS]
    return float(np.mean(large)) if large else math.nan


def _row(name: str, cells: Sequence[Cell], splits: Sequence[str]) -> Row:
    mine = [cell for cell in cells if cell.row == name]
    row: dict[str, str | int | float] = {"row": ROWS[name].what, "seeds": len({cell.seed for cell in mine})}
    for split in splits:
        values = [mean_percent(cell.target[split]) for cell in mine if split in cell.target]
        row[split] = _mean(values)
        row[f"{split} ±"] = half_interval(values)
        gaps = [gap for cell in mine if split in cell.target and (gap := gap_closed(cell, cells, split)) is not None]
        row[f"gap closed, {split}"] = _mean(gaps)
    first = [cell.target[splits[0]] for cell in mine if splits[0] in cell.target]
    row[f"{splits[0]}, large classes"] = _mean([100 * mean_of_large_classes(scores) for scores in first])
    row["source"] = _mean([mean_percent(cell.source) for cell in mine])
    row["source ±"] = half_interval([mean_percent(cell.source) for cell in mine])
    row["ships"] = mine[0].ships
    row["minutes"] = _mean([cell.seconds / 60 for cell in mine])
    return row


def gap_closed(cell: Cell, cells: Sequence[Cell], split: str) -> float | None:
    """Percent of the way from this seed's source only to its upper bound; None where the seed lacks either."""
    ends = {
        ROWS[other.row].what: mean_percent(other.target[split])
        for other in cells
        if other.seed == cell.seed and split in other.target
    }
    if SOURCE_ONLY not in ends or UPPER_BOUND not in ends or not ends[UPPER_BOUND] > ends[SOURCE_ONLY]:
        return None
    gap = ends[UPPER_BOUND] - ends[SOURCE_ONLY]
    return 100 * (mean_percent(cell.target[split]) - ends[SOURCE_ONLY]) / gap


def half_interval(values: Sequence[float]) -> float:
    """Half of the 95 % interval of the mean by Student's t; NaN for a single seed."""
    if len(values) < 2:
        return math.nan
    t = _T_95.get(len(values), 2.0)
    return t * float(np.std(values, ddof=1)) / math.sqrt(len(values))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan
