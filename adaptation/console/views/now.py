"""How everything is just now: domains, gateways, the round that runs, and what does not work."""

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from adaptation.console.views.domain_figures import (
    CURVE_OVER,
    candidate_in_words,
    confidence_curve,
    moved_classes,
    p99_of_domain,
)
from adaptation.console.views.reading import Reading
from adaptation.control.learner.triggers import TriggerBook
from adaptation.control.rounds.domain_sight import DomainSights, drift
from adaptation.control.rounds.round_state import Phase, RoundState, progress_key
from exchange.fleet.gateways import Heartbeat, VersionHealth
from exchange.jobs.progress import Progress
from exchange.plan.plan_changes import DEFAULT, follows_default
from exchange.plan.priors import read_priors
from exchange.plan.serving_plan import ServingPlan
from exchange.registry.pins import pins_for_a_list
from exchange.storage.locations import TRIGGERS
from exchange.storage.readable_objects import read_readable

RATE_OVER_S = 20.0
_SIGHTS_EVERY = 5


@dataclass(frozen=True)
class DomainNow:
    name: str
    serving: int
    previous: int | None
    candidate: str
    """What is tried, in words; empty where nothing is."""
    follows_default: bool
    prior: tuple[tuple[str, float], ...]
    """Classes whose log ratio is moved most, in the plan."""
    frozen: bool
    confidence: float | None
    """Mean over the last frames of the version that serves."""
    confidence_curve: tuple[float | None, ...]
    """Over the last half hour, the oldest first; None where nobody drove."""
    frames_per_s: float
    p99_s: float | None
    """Of the version that serves, where it answers no other domain; None where that is not known."""
    not_known: str
    """Why figures are None; empty where none is."""
    drift: str
    """Why the domain counts as drifted; empty where it does not."""


@dataclass(frozen=True)
class VersionNow:
    version: int
    loaded: bool
    trouble: str
    requests: int
    errors: int
    p50_s: float | None
    p99_s: float | None


@dataclass(frozen=True)
class GatewayNow:
    name: str
    alive: bool
    silent_s: int
    """0 while it is alive."""
    revision: int
    is_current: bool
    frames_per_s: float
    busy_share: float
    free_bytes: int
    dropped: int
    """Frames without a row, or that capture never saw, since it started."""
    versions: tuple[VersionNow, ...]


@dataclass(frozen=True)
class RunningNow:
    round_id: str
    domain: str
    phase: Phase
    step: str
    done: int
    total: int
    note: str
    """What it waits for, or its loss."""


@dataclass(frozen=True)
class NowView:
    revision: int | None
    """None while there is no serving plan."""
    domains: tuple[DomainNow, ...]
    gateways: tuple[GatewayNow, ...]
    running: RunningNow | None
    queued: int
    troubles: tuple[str, ...]
    """Of gateways and of what is stored."""


class NowReader:
    """Makes the view; keeps what rates are told from."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._sights = DomainSights(reading.root)
        self._drifts: dict[str, str] = {}
        self._made = 0
        self._requests: dict[str, deque[tuple[datetime, int]]] = {}

    def view(self) -> NowView:
        """Raises RecordError or StorageError."""
        reading = self._reading
        plan, learner = reading.plan(), reading.learner
        beats, alive = learner.gateways.all(), {beat.gateway for beat in learner.gateways.alive()}
        rounds = reading.book.all()
        frozen = {record.domain for record in read_priors(reading.root) if record.frozen}
        if plan is not None and self._made % _SIGHTS_EVERY == 0:
            self._drifts = self._look_for_drift(plan, rounds)
        self._made += 1
        serving = [beat for beat in beats if beat.gateway in alive]
        domains = [] if plan is None else [self._domain(name, plan, frozen, serving) for name in reading.domains(plan)]
        gateways = tuple(self._gateway(beat, plan, alive) for beat in beats)
        open_rounds = [state for state in rounds if not state.phase.is_final]
        started = [state for state in open_rounds if state.phase is not Phase.QUEUED]
        return NowView(
            revision=None if plan is None else plan.revision,
            domains=tuple(domains),
            gateways=gateways,
            running=self._running(started[0]) if started else None,
            queued=len(open_rounds) - len(started),
            troubles=tuple(self._troubles(gateways)),
        )

    def _domain(self, name: str, plan: ServingPlan, frozen: set[str], beats: list[Heartbeat]) -> DomainNow:
        served = plan.of(name)
        rows = self._reading.rows(name, CURVE_OVER)
        rows = rows[rows.version_N == served.serving]
        now_s = datetime.now(UTC).timestamp()
        last_N = rows.mean_confidence_N[-64:]
        others = [other for other in self._reading.domains(plan) if other != name and self._has(other, served.serving)]
        p99_s, not_known = p99_of_domain(beats, served.serving, bool(len(rows)), others)
        return DomainNow(
            name=name,
            serving=served.serving,
            previous=served.previous,
            candidate=candidate_in_words(served.candidate),
            follows_default=name != DEFAULT and follows_default(plan, name),
            prior=moved_classes(served),
            frozen=name in frozen,
            confidence=round(float(last_N.astype(np.float64).mean()), 3) if len(last_N) else None,
            confidence_curve=confidence_curve(rows, now_s),
            frames_per_s=round(float((rows.captured_s_N > now_s - RATE_OVER_S).sum()) / RATE_OVER_S, 1),
            p99_s=p99_s,
            not_known=not_known,
            drift=self._drifts.get(name, ""),
        )

    def _has(self, domain: str, version: int) -> bool:
        """Whether the version has answered frames of the domain of late."""
        return bool((self._reading.rows(domain).version_N == version).any())

    def _gateway(self, beat: Heartbeat, plan: ServingPlan | None, alive: set[str]) -> GatewayNow:
        is_alive = beat.gateway in alive
        silent_s = 0 if is_alive else int((datetime.now(UTC) - beat.written_at).total_seconds())
        return GatewayNow(
            name=beat.gateway,
            alive=is_alive,
            silent_s=silent_s if silent_s < 60 else silent_s // 60 * 60,
            revision=beat.plan_revision,
            is_current=plan is None or beat.plan_revision == plan.revision,
            frames_per_s=self._rate(beat) if is_alive else 0.0,
            busy_share=round(beat.engine_busy_share, 2),
            free_bytes=beat.free_bytes >> 28 << 28,
            dropped=beat.presence_dropped + beat.capture_dropped,
            versions=tuple(_version(number, health) for number, health in sorted(beat.versions.items())),
        )

    def _rate(self, beat: Heartbeat) -> float:
        """Requests a second, over the heartbeats of the last while."""
        known = self._requests.setdefault(beat.gateway, deque(maxlen=64))
        requests = sum(health.requests for health in beat.versions.values())
        if known and (requests < known[-1][1] or beat.written_at < known[-1][0]):
            known.clear()  # it was started anew, or dropped a version
        known.append((beat.written_at, requests))
        while (beat.written_at - known[0][0]).total_seconds() > RATE_OVER_S:
            known.popleft()
        lasted_s = (beat.written_at - known[0][0]).total_seconds()
        return round((requests - known[0][1]) / lasted_s, 1) if lasted_s > 0 else 0.0

    def _look_for_drift(self, plan: ServingPlan, rounds: list[RoundState]) -> dict[str, str]:
        book = read_readable(self._reading.root, TRIGGERS, TriggerBook.decode)
        surest = {} if book is None else book.surest
        found = {}
        for name in self._reading.domains(plan):
            if (sight := self._sights.of(name, plan.of(name).serving)) is not None:
                begun = (s for s in reversed(rounds) if s.request.domain == name and s.phase is not Phase.CANCELLED)
                last = next(begun, None)
                found[name] = drift(sight, None if last is None else last.sight, surest.get(sight.version))
        return found

    def _running(self, state: RoundState) -> RunningNow:
        progress = read_readable(self._reading.root, progress_key(state.id), Progress.decode)
        waiting = self._reading.learner.rollouts.waiting(state.request.domain) if state.phase is Phase.ROLLOUT else ""
        if progress is None:
            return RunningNow(state.id, state.request.domain, state.phase, "", 0, 0, waiting)
        loss = progress.numbers.get("loss")
        note = waiting or progress.paused or ("" if loss is None else f"loss {loss:.3f}")
        return RunningNow(
            state.id, state.request.domain, state.phase, progress.step, progress.done, progress.total, note
        )

    def _troubles(self, gateways: tuple[GatewayNow, ...]) -> list[str]:
        pins_for_a_list(self._reading.root)  # what is noted of them is no older than this view
        lost = self._reading.book.damaged
        skipped = [line for line in self._reading.root.unreadable.lines() if line not in lost.values()]
        troubles = [f"lost: {why}" for _, why in sorted(lost.items())]
        troubles += [f"skipped, as it cannot be read: {line}" for line in skipped]
        troubles += self._reading.learner.triggers.troubles
        troubles += [
            f"gateway {gateway.name}: version {each.version}: {each.trouble}"
            for gateway in gateways
            if gateway.alive
            for each in gateway.versions
            if each.trouble
        ]
        return troubles


def _version(number: int, health: VersionHealth) -> VersionNow:
    return VersionNow(
        number, health.loaded, health.trouble or "", health.requests, health.errors, health.p50_s, health.p99_s
    )
