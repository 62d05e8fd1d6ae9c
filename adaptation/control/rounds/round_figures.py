"""Rounds in numbers for Prometheus: the open ones, how the worker of one does, and what the gate said last."""

import time
from collections.abc import Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric

from adaptation.control.rounds.round_state import Phase, RoundState, progress_key, round_key
from exchange.jobs.progress import Progress
from exchange.jobs.round_files import VERDICT_FILE
from exchange.jobs.verdict import Verdict
from exchange.metrics_port import gauge
from exchange.storage import StorageRoot
from exchange.storage.readable_objects import read_readable

_MOST_NUMBERS = 16
_JUDGED = (Phase.PUBLISHING, Phase.ROLLOUT, Phase.PROMOTED, Phase.REJECTED)


class OpenRounds:
    """Knows since when something is as it is, by this process's own clock."""

    def __init__(self, root: StorageRoot) -> None:
        self._root = root
        self._phases = _Since()
        self._progress = _Since()

    def families(self, rounds: Sequence[RoundState]) -> Iterator[Metric]:
        """Raises StorageError where the root does not answer."""
        queued = [state for state in rounds if state.phase is Phase.QUEUED]
        yield GaugeMetricFamily("roadshift_rounds_queued", "Rounds that wait for another to end.", len(queued))
        phases = gauge(
            "roadshift_round_phase_seconds", "How long a domain's open round is in its phase.", "domain", "phase"
        )
        oldest: dict[tuple[str, str], float] = {}
        for state in rounds:
            place = state.request.domain, state.phase.value
            oldest[place] = max(oldest.get(place, 0.0), self._phases.seconds(state.id, state.phase))
        for place, seconds in oldest.items():
            phases.add_metric(place, seconds)
        yield phases
        self._phases.keep(state.id for state in rounds)
        learning = next((state for state in rounds if state.phase is Phase.LEARNING), None)
        yield from self._learning(learning)

    def _learning(self, state: RoundState | None) -> Iterator[Metric]:
        key = None if state is None else progress_key(state.id)
        progress = None if key is None else read_readable(self._root, key, Progress.decode)
        self._progress.keep([] if state is None else [state.id])
        silent = gauge("roadshift_round_silent_seconds", "Since the learning round last got on.", "domain")
        paused = gauge("roadshift_round_paused", "1 while the learning round stands still for the gateways.", "domain")
        worked = gauge("roadshift_round_worked_seconds", "Of the learning round's worker, pauses left out.", "domain")
        done = gauge("roadshift_round_step_done", "Of the step that the learning round is at.", "domain", "step")
        planned = gauge("roadshift_round_step_planned", "What `done` becomes at that step's end.", "domain", "step")
        numbers = gauge("roadshift_round_number", "What the training told last, such as its losses.", "domain", "name")
        if state is not None:
            domain = state.request.domain
            silent.add_metric((domain,), self._progress.seconds(state.id, _how_far(progress)))
            if progress is not None:
                paused.add_metric((domain,), bool(progress.paused))
                worked.add_metric((domain,), progress.worked_s)
                done.add_metric((domain, progress.step), progress.done)
                planned.add_metric((domain, progress.step), progress.total)
                told = progress.numbers or (progress.curve[-1].numbers if progress.curve else {})
                for name, value in list(told.items())[:_MOST_NUMBERS]:
                    numbers.add_metric((domain, name), value)
        yield from (silent, paused, worked, done, planned, numbers)


class GateFigures:
    """The verdict on the round that was judged last; read once."""

    def __init__(self, root: StorageRoot) -> None:
        self._root = root
        self._read: tuple[str, Verdict | None] = ("", None)

    def families(self, rounds: Sequence[RoundState]) -> Iterator[Metric]:
        """`rounds`: all of them, the oldest first. Raises StorageError."""
        value = gauge("roadshift_gate_value", "What the last gate measured.", "domain", "check")
        threshold = gauge("roadshift_gate_threshold", "What it was held against.", "domain", "check")
        passed = gauge("roadshift_gate_passed", "1 where the check let the round pass.", "domain", "check")
        judged = max((s for s in rounds if s.phase in _JUDGED), key=lambda state: state.changed_at, default=None)
        if judged is not None and (verdict := self._verdict(judged.id)) is not None:
            for check in verdict.checks:
                labels = judged.request.domain, check.name
                threshold.add_metric(labels, check.threshold)
                passed.add_metric(labels, check.passed)
                if check.value is not None:
                    value.add_metric(labels, check.value)
        yield from (value, threshold, passed)

    def _verdict(self, round_id: str) -> Verdict | None:
        if self._read[0] != round_id:
            verdict = read_readable(self._root, round_key(round_id, VERDICT_FILE), Verdict.decode)
            self._read = round_id, verdict
        return self._read[1]


class _Since:
    """How long each of a few things has had the value that it has."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[object, float]] = {}

    def seconds(self, name: str, value: object) -> float:
        now_s = time.monotonic()
        if name not in self._known or self._known[name][0] != value:
            self._known[name] = value, now_s
        return now_s - self._known[name][1]

    def keep(self, names: Iterator[str] | Sequence[str]) -> None:
        wanted = set(names)
        self._known = {name: known for name, known in self._known.items() if name in wanted}


def _how_far(progress: Progress | None) -> tuple[str, int] | None:
    return None if progress is None else (progress.step, progress.done)
