"""Candidates on their way: shadow copies, then a share of the frames, then promoted; or dropped with a reason.

Everything is in the serving plan and in the heartbeats. How long a candidate has been tried is the one thing that a
learner keeps to itself: the one that takes over tries it anew, for the whole time.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from adaptation.control.settings import RolloutSettings
from exchange.failpoints import failpoint
from exchange.fleet.gateways import Heartbeat, VersionHealth
from exchange.net.callers import LEARNER
from exchange.plan.lease import Lease
from exchange.plan.plan_changes import (
    DEFAULT,
    apply_change,
    candidate_dropped,
    follows_default,
    promoted,
    with_candidate,
)
from exchange.plan.serving_plan import Candidate, DomainPlan, PlanContent, ServingPlan, read_plan
from exchange.registry.audit import AuditEntry, audited
from exchange.storage import StorageRoot

PROMOTE, TRY, DROP = "promote", "try", "drop-candidate"
OUTCOMES = (PROMOTE, DROP)
MOST_ERROR_SHARE = 0.02
ERRORS_ANYWAY = 2
"""So many are an accident, however few frames there were."""
SLOWEST_FACTOR = 2.0
"""The engine's p99 with the candidate over that with the version that serves."""
SLOWER_ANYWAY_S = 0.1
"""So much more is an accident of scheduling, however quick the engine is."""
MOST_DISAGREEMENT = 0.5
"""Mean over classes that are more than an object: an adapted network disagrees where it is better, not everywhere."""
_MORE_THAN_AN_OBJECT = 3e-3
"""Of the compared pixels; the gate judges a class by itself from the same share on."""
_FEWEST_SHADOWS = 8


class Judgement(NamedTuple):
    """`drop` says why the candidate goes, `wait` what is waited for before its time counts; else both are empty."""

    drop: str = ""
    wait: str = ""
    loads: bool = False
    """What is waited for is that gateways load it, which has a time of its own."""


def judge(
    serving: int,
    candidate: Candidate,
    gateways: list[Heartbeat],
    settings: RolloutSettings,
    unreadable: Sequence[str] = (),
) -> Judgement:
    """What the gateways that are there say of a candidate.

    Args:
        unreadable: gateways that are there, too, but whose heartbeat cannot be read.
    """
    if not gateways and not unreadable:
        return Judgement(wait="no gateway is there to try it")
    for beat in gateways:
        health = beat.versions.get(candidate.version)
        if health is not None and (trouble := _trouble(health, beat.versions.get(serving))):
            return Judgement(drop=f"gateway {beat.gateway}: {trouble}")
    if missing := [beat.gateway for beat in gateways if not _has_loaded(beat, candidate.version)]:
        return Judgement(wait=f"gateways that have not loaded it: {', '.join(missing)}", loads=True)
    if unreadable:
        # They may be failing with it, unseen: nothing is promoted past them. Nor does it wait for ever: like one that
        # a gateway does not load, the candidate goes after `load_within_s`, which says why and makes room.
        return Judgement(wait=f"gateways whose heartbeat cannot be read: {', '.join(unreadable)}", loads=True)
    answered = sum(beat.versions[candidate.version].requests for beat in gateways)
    if candidate.share > 0 and answered < settings.fewest_frames:
        return Judgement(wait=f"it has answered {answered} frames of {settings.fewest_frames}")
    return Judgement()


def _has_loaded(beat: Heartbeat, version: int) -> bool:
    health = beat.versions.get(version)
    return health is not None and health.loaded


def _trouble(health: VersionHealth, serving: VersionHealth | None) -> str:
    if trouble := health.trouble or engine_trouble(health, serving):
        return trouble
    if health.disagreement is not None and health.shadow_frames >= _FEWEST_SHADOWS:
        disagreement_K = np.array(health.disagreement)
        # Gateways of an earlier version do not tell the shares.
        seen_K = np.array(health.compared or health.disagreement) > _MORE_THAN_AN_OBJECT
        mean = float(disagreement_K[seen_K].mean()) if seen_K.any() else 0.0
        if mean > MOST_DISAGREEMENT:
            return f"collapse: as a shadow it labels {100 * mean:.0f} % otherwise, class by class"
    return ""


def engine_trouble(health: VersionHealth, other: VersionHealth | None, slowest: float = SLOWEST_FACTOR) -> str:
    """What is wrong with a version's engine at one gateway, beside another version's; empty where nothing is."""
    if health.errors > max(ERRORS_ANYWAY, MOST_ERROR_SHARE * health.requests):
        return f"{health.errors} errors in {health.requests} frames"
    ours_s, theirs_s = health.engine_p99_s, None if other is None else other.engine_p99_s
    if ours_s is None or theirs_s is None or health.requests + health.shadow_frames < _FEWEST_SHADOWS:
        return ""
    if ours_s > max(slowest * theirs_s, theirs_s + SLOWER_ANYWAY_S):
        return f"the engine's p99 is {1000 * ours_s:.0f} ms with it, {1000 * theirs_s:.0f} ms without"
    return ""


@dataclass
class _Trial:
    """Of one domain's candidate, with the shares that it has now."""

    candidate: Candidate
    begun_s: float
    """When it began to be tried so, or to wait."""
    said: Judgement
    """What was said of it last."""


class Rollouts:
    """`tick` is called every moment by whoever holds the lease."""

    def __init__(
        self,
        root: StorageRoot,
        lease: Lease,
        settings: RolloutSettings,
        gateways: Callable[[], list[Heartbeat]],
        unreadable: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        """`gateways`: those that are there; `unreadable`: those, too, whose heartbeat cannot be read."""
        self._root = root
        self._lease = lease
        self._settings = settings
        self._gateways = gateways
        self._unreadable = unreadable
        self._trials: dict[str, _Trial] = {}
        self.decided: Counter[str] = Counter()
        """How often a candidate was promoted or dropped by this learner itself."""

    def waiting(self, domain: str) -> str:
        """What a domain's candidate waits for; empty where its time runs, or there is none."""
        trial = self._trials.get(domain) or self._trials.get(DEFAULT)
        return "" if trial is None else trial.said.wait

    def tick(self) -> None:
        """Moves each candidate on or drops it, as the gateways say.

        Raises:
            LeaseLost, PlanRefused, RecordError, StorageError: as `apply_change`.
        """
        stored = read_plan(self._root)
        found = {} if stored is None else dict(_candidates(stored.plan))
        self._trials = {domain: trial for domain, trial in self._trials.items() if domain in found}
        for domain, plan in found.items():
            if plan.candidate is not None:
                self._consider(domain, plan.serving, plan.candidate)

    def _consider(self, domain: str, serving: int, candidate: Candidate) -> None:
        now_s = time.monotonic()
        trial = self._trials.get(domain)
        if trial is None or trial.candidate != candidate:
            trial = self._trials[domain] = _Trial(candidate, now_s, Judgement())
        said = judge(serving, candidate, self._gateways(), self._settings, self._unreadable())
        if (bool(said.wait), said.loads) != (bool(trial.said.wait), trial.said.loads):
            trial.begun_s = now_s
        trial.said = said
        lasted_s = now_s - trial.begun_s
        if said.drop:
            self._change(DROP, domain, candidate, said.drop)
        elif said.loads and lasted_s > self._settings.load_within_s:
            self._change(DROP, domain, candidate, f"after {lasted_s:.0f} s: {said.wait}")
        elif not said.wait:
            self._advance(domain, candidate, lasted_s)

    def _advance(self, domain: str, candidate: Candidate, tried_s: float) -> None:
        if candidate.share == 0:
            if tried_s >= self._settings.shadow_s:
                self._change(TRY, domain, candidate, f"{tried_s:.0f} s as a shadow without trouble")
        elif tried_s >= self._settings.bake_s:
            self._change(PROMOTE, domain, candidate, f"{tried_s:.0f} s with its share of frames without trouble")

    def _change(self, what: str, domain: str, candidate: Candidate, why: str) -> None:
        changes = {
            PROMOTE: partial(promoted, version=candidate.version, domain=domain),
            DROP: partial(candidate_dropped, domain=domain),
            TRY: partial(
                with_candidate,
                version=candidate.version,
                domain=domain,
                share=self._settings.share,
                shadow_share=candidate.shadow_share,
            ),
        }
        change = changes[what]

        def unless_gone(content: PlanContent | None) -> PlanContent | None:
            """An operator may have been quicker."""
            present = None if content is None else content.domains.get(domain, content.default)
            return None if present is None or present.candidate != candidate else change(content)

        failpoint(f"rollout.before-{what}")
        entry = AuditEntry(who=LEARNER, what=what, version=candidate.version, domain=domain, why=why[:2000])
        with audited(self._root, entry):
            failpoint(f"rollout.audited-{what}")
            apply_change(self._root, self._lease, unless_gone)
        self.decided[what] += 1
        failpoint(f"rollout.after-{what}")


def _candidates(plan: ServingPlan) -> Iterator[tuple[str, DomainPlan]]:
    """Each candidate once: domains that are served like the default follow it."""
    if plan.default.candidate is not None:
        yield DEFAULT, plan.default
    for domain, listed in plan.domains.items():
        if listed.candidate is not None and not follows_default(plan, domain):
            yield domain, listed
