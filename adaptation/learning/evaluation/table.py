"""Scores as a table for people."""

from rich.table import Table

from adaptation.learning.evaluation.scores import Scores
from exchange.plain_words import counted


def scores_table(scores: Scores) -> Table:
    """One row per scored class, and the mean below."""
    table = Table(title=f"{counted(scores.frames, 'frame')}, {scores.classes} classes", show_footer=True)
    table.add_column("class", footer="mean")
    table.add_column("IoU %", justify="right", footer=_percent(scores.mean_iou))
    table.add_column("labelled pixels", justify="right", footer=f"{sum(scores.true_pixels.values()):,}")
    for name, iou in scores.iou.items():
        table.add_row(name, _percent(iou), f"{scores.true_pixels[name]:,}")
    return table


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f}"
