"""What the gate says: every check with its number, its threshold, and a sentence for the operator."""

import math
from typing import Literal

from rich.table import Table

from exchange.storage.records import Record


class Check(Record):
    name: str
    value: float | None
    """None where it was not measured."""
    bound: Literal["at least", "at most"]
    threshold: float
    passed: bool
    explanation: str

    @classmethod
    def of(
        cls, name: str, value: float, bound: Literal["at least", "at most"], threshold: float, explanation: str
    ) -> "Check":
        """A value that is no number passes nothing, and is kept as None."""
        passed = value >= threshold if bound == "at least" else value <= threshold
        measured = None if math.isnan(value) else value
        return cls(name=name, value=measured, bound=bound, threshold=threshold, passed=passed, explanation=explanation)

    @classmethod
    def missing(cls, name: str, bound: Literal["at least", "at most"], threshold: float, why: str) -> "Check":
        return cls(name=name, value=None, bound=bound, threshold=threshold, passed=False, explanation=why)


class Verdict(Record):
    format: Literal[1] = 1
    checks: tuple[Check, ...]
    passed: bool
    """Every check passed, and there was at least one."""

    def reasons(self) -> tuple[str, ...]:
        """Why it was refused; empty where it was not."""
        return tuple(f"{check.name}: {check.explanation}" for check in self.checks if not check.passed)


def verdict_table(verdict: Verdict) -> Table:
    table = Table(title="the gate", caption="promoted" if verdict.passed else "REFUSED")
    for heading in ("check", "value", "must be", "", "what it means"):
        table.add_column(heading, justify="right" if heading in ("value", "must be") else "left")
    for check in verdict.checks:
        value = "-" if check.value is None else f"{check.value:.4g}"
        result = "passes" if check.passed else "[red]REFUSES[/red]"
        table.add_row(check.name, value, f"{check.bound} {check.threshold:.4g}", result, check.explanation)
    return table
