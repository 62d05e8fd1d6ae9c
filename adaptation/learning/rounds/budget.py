"""How many iterations a round has: as asked, or as many as the asked time holds at the pace measured here."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict

from exchange.jobs.recipes import RoundConfig

BUDGET_FILE = "budget.json"
_TIMED_STEPS = 2


class Budget(BaseModel):
    """Decided once and kept, so that a resumed round takes the same steps at the same rates."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rectification_iterations: int
    label_iterations: int
    self_training_iterations: int
    seconds_per_iteration: float | None
    """None where the budget was given in iterations."""

    @classmethod
    def read(cls, folder: Path) -> Self:
        return cls.model_validate_json((folder / BUDGET_FILE).read_text())


def write_budget(folder: Path, iterations: int, config: RoundConfig, pace_s: float | None = None) -> None:
    """Shares the iterations; each training that the recipe has gets at least one."""
    rectification = max(1, round(iterations * config.rectified_share)) if config.rectified_share > 0 else 0
    labels = max(1, round(iterations * config.pseudo_labels.share)) if config.pseudo_labels is not None else 0
    left = max(1, iterations - rectification - labels)
    budget = Budget(
        rectification_iterations=rectification,
        label_iterations=labels,
        self_training_iterations=left if config.self_training is not None else 0,
        seconds_per_iteration=pace_s,
    )
    (folder / BUDGET_FILE).write_text(budget.model_dump_json(indent=2) + "\n")


def seconds_per_step(step: Callable[[int], object]) -> float:
    """Takes one step to warm up and two that are timed; the slower one counts."""
    step(0)
    taken_s = []
    for iteration in range(1, 1 + _TIMED_STEPS):
        started_s = time.monotonic()
        step(iteration)
        taken_s.append(time.monotonic() - started_s)
    return max(taken_s)
