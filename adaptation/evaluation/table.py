"""Scores as a table for people."""

from rich.table import Table

from adaptation.evaluation.scores import Scores
from exchange.plain_words import counted


def scores_table(scores: Scores) -> Table:
    """One row per scored class, and the mean below."""
    table = Table(title=f"{counted(scores.frames, 'frame')}, {scores.classes} classes", show_footer=True)
    table.add_column("class", footer="mean")
    table.add_column("IoU %", justify="right", footer=f"{100 * scores.mean_iou:.2f}")
    table.add_column("labelled pixels", justify="right", footer=f"{sum(scores.true_pixels.values()):,}")
    for name, iou in scores.iou.items():
        table.add_row(name, "-" if iou is None else f"{100 * iou:.2f}", f"{scores.true_pixels[name]:,}")
    return table
