"""What was promoted is watched for a while, and rolled back by itself where it fails, is slow, or has collapsed.

Only a promotion is watched: what serves because of a rollback or a reset stays, so that two releases that both fail
(as where a machine does) are not exchanged for one another again and again. When a promotion was is in the audit; so
a learner that takes over watches on.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np

from adaptation.control.releases.deciding import Order, roll_back
from adaptation.control.rollout.rollouts import engine_trouble
from adaptation.control.settings import RolloutSettings
from exchange.fleet.gateways import Heartbeat
from exchange.net.callers import LEARNER
from exchange.plan.lease import Lease
from exchange.plan.plan_changes import DEFAULT, follows_default
from exchange.plan.priors import read_priors
from exchange.plan.serving_plan import DomainPlan, ServingPlan, read_plan
from exchange.registry.audit import FAILED, read_audit
from exchange.storage import StorageRoot

PROMOTE = "promote"
CHANGES = (PROMOTE, "rollback", "reset")
_SLOWEST_FACTOR = 3.0
"""The previous release's p99 was taken before, perhaps under less load: more is forgiven than to a candidate."""
_FEWEST_ROWS = 32
_COMMON_SHARE, _LOST_SHARE = 0.3, 0.1
"""What the previous release saw in so many frames is common, and lost where it is seen in so few of those now."""
_log = logging.getLogger(__name__)


@dataclass
class _Watch:
    """Of one domain's serving version."""

    version: int
    promoted_at: datetime | None
    """None: not by a promotion, or too long ago."""
    before: dict[tuple[str, datetime], tuple[int, int]] = field(default_factory=dict)
    """Requests and errors of each gateway's process, when it was first looked at."""


class PromotedWatch:
    """`tick` is called every few seconds by whoever holds the lease."""

    def __init__(
        self, root: StorageRoot, lease: Lease, settings: RolloutSettings, gateways: Callable[[], list[Heartbeat]]
    ) -> None:
        self._root = root
        self._lease = lease
        self._watch_s = timedelta(seconds=settings.watch_s)
        self._gateways = gateways
        self._watches: dict[str, _Watch] = {}
        self.rolled_back = 0
        """So many promotions were taken back."""

    def tick(self) -> None:
        """Rolls back what does not do.

        Raises:
            LeaseLost, PlanRefused, RecordError, StorageError: as `roll_back`.
        """
        stored = read_plan(self._root)
        for domain, plan in () if stored is None else _served(stored.plan):
            watch = self._watches.get(domain)
            if watch is None or watch.version != plan.serving:
                watch = self._watches[domain] = _Watch(plan.serving, self._promoted_at(domain, plan.serving))
            if plan.previous is None or watch.promoted_at is None:
                continue
            if datetime.now(UTC) - watch.promoted_at > self._watch_s:
                watch.promoted_at = None
            elif why := self._failing(watch, plan.previous) or self._collapsed(domain, plan, watch.promoted_at):
                _log.warning("release %d is rolled back in %s: %s", plan.serving, domain, why)
                order = Order(LEARNER, None if domain == DEFAULT else domain, f"after its promotion: {why}")
                roll_back(self._root, self._lease, order)
                self.rolled_back += 1

    def _promoted_at(self, domain: str, version: int) -> datetime | None:
        """Where the last change of the domain was this version's promotion, not too long ago."""
        last = None
        for entry in read_audit(self._root, datetime.now(UTC) - self._watch_s):
            is_for_all = (entry.domain or DEFAULT) == DEFAULT and entry.version == version
            if (entry.domain or DEFAULT) != domain and not is_for_all:
                continue
            if entry.what in CHANGES:
                last = entry
            elif last is not None and entry.what == last.what + FAILED:
                last = None
        return last.at if last is not None and (last.what, last.version) == (PROMOTE, version) else None

    def _failing(self, watch: _Watch, previous: int) -> str:
        for beat in self._gateways():
            health = beat.versions.get(watch.version)
            if health is None:
                continue
            requests, errors = watch.before.setdefault(
                (beat.gateway, beat.started_at), (health.requests, health.errors)
            )
            since = health.model_copy(
                update={"requests": health.requests - requests, "errors": health.errors - errors, "shadow_frames": 0}
            )
            if trouble := engine_trouble(since, beat.versions.get(previous), _SLOWEST_FACTOR):
                return f"gateway {beat.gateway}: {trouble}"
        return ""

    def _collapsed(self, domain: str, plan: DomainPlan, promoted_at: datetime) -> str:
        """By the presence rows of either version: most of the classes that were common are gone."""
        for record in read_priors(self._root):
            if domain not in (DEFAULT, record.domain):
                continue
            ours = record.estimates.get(plan.serving)
            theirs = record.estimates.get(plan.previous or 0)
            if ours is None or theirs is None or ours.frames < _FEWEST_ROWS or ours.estimated_at < promoted_at:
                continue
            share_K, previous_share_K = np.array(ours.share), np.array(theirs.share)
            common_K = previous_share_K >= _COMMON_SHARE
            lost_K = common_K & (share_K < _LOST_SHARE * previous_share_K)
            if 2 * lost_K.sum() > common_K.sum():
                return f"collapse in {record.domain}: {lost_K.sum()} of {common_K.sum()} common classes are gone"
        return ""


def _served(plan: ServingPlan) -> Iterator[tuple[str, DomainPlan]]:
    """The default, and each domain that is served otherwise."""
    yield DEFAULT, plan.default
    for domain, listed in plan.domains.items():
        if not follows_default(plan, domain):
            yield domain, listed
