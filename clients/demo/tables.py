"""The story's end in the terminal: accuracy by class, and the timeline in one line a domain and version."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from clients.demo.journal import SHOWN_IOU, Answer, Journal, class_iou, confusion_of, mean_iou, timeline
from clients.demo.simulated_data import DAY, DUSK
from exchange.label_space import CLASS_NAMES

_BARS = "▁▂▃▄▅▆▇█"
_COLUMNS = 60


class Stage(NamedTuple):
    title: str
    confusion_KK: NDArray[np.int64]
    frames: int


def stages(answers: Sequence[Answer], version: int) -> list[Stage]:
    """What is compared: the first release by day and at dusk, without and with the prior, and the one after it."""
    dusk = [answer for answer in answers if answer.domain == DUSK]
    chosen = {
        "day, release 1": [answer for answer in answers if answer.domain == DAY],
        "dusk, no prior": [answer for answer in dusk if answer.version == 1 and not answer.has_prior],
        "dusk, prior": [answer for answer in dusk if answer.version == 1 and answer.has_prior],
    }
    if version > 1:
        chosen[f"dusk, release {version}"] = [answer for answer in dusk if answer.version == version]
    return [
        Stage(title, confusion_of(found), len({answer.frame for answer in found}))
        for title, found in chosen.items()
        if found
    ]


def class_table(shown: Sequence[Stage]) -> Table:
    """IoU by class, and the means; of classes in the truth."""
    table = Table("class", title="IoU % against the simulator's truth")
    for stage in shown:
        table.add_column(stage.title, justify="right")
    by_stage = [class_iou(stage.confusion_KK) for stage in shown]
    for k, name in enumerate(CLASS_NAMES):
        if any(np.isfinite(iou_K[k]) for iou_K in by_stage):
            table.add_row(name, *(_percent(iou_K[k]) for iou_K in by_stage))
    table.add_section()
    table.add_row("mean", *(_percent(mean_iou(stage.confusion_KK)) for stage in shown))
    table.add_row("frames", *(str(stage.frames) for stage in shown))
    return table


def _percent(iou: float) -> str:
    return "-" if np.isnan(iou) else f"{100 * iou:.1f}"


def timeline_lines(journal: Journal, window: int) -> list[str]:
    """mIoU over the time within `SHOWN_IOU`, one line for each domain and version that answered."""
    points = timeline(journal.answers, window)
    if not points:
        return []
    low, high = SHOWN_IOU
    begin_s, end_s = points[0].at_s, points[-1].at_s + 1
    lines = []
    for domain, version in sorted({(point.domain, point.version) for point in points}):
        cells = [" "] * _COLUMNS
        for point in points:
            if (point.domain, point.version) == (domain, version):
                height = int(np.clip((point.mean_iou - low) / (high - low), 0, 0.999) * len(_BARS))
                cells[min(int((point.at_s - begin_s) / (end_s - begin_s) * _COLUMNS), _COLUMNS - 1)] = _BARS[height]
        lines.append(f"{domain:>8} v{version} |{''.join(cells)}|")
    return [*lines, f"{'':>12}{f'{begin_s:.0f} s':<{_COLUMNS - 8}}{f'{end_s:.0f} s':>8}"]
