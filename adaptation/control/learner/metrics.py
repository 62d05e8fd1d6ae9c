"""What the learner shows to Prometheus, beside the gateways' own metrics.

`look` and `weigh` read the root, as duties of the learner; a scrape only hands out what they found, so that no
Prometheus makes storage slower. Labels are bounded: domains, classes, the plan's versions, the rounds that are open.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from adaptation.control.learner.root_figures import (
    label_families,
    plan_families,
    prior_families,
    sight_families,
    storage_families,
)
from adaptation.control.learner.triggers import Triggers
from adaptation.control.rollout.gateway_watch import GatewayWatch
from adaptation.control.rollout.promoted_watch import PromotedWatch
from adaptation.control.rollout.rollouts import OUTCOMES, Rollouts
from adaptation.control.rounds.left_out import LeftOutFrames
from adaptation.control.rounds.round_figures import GateFigures, OpenRounds
from adaptation.control.rounds.round_state import Phase, RoundBook
from exchange.metrics_port import disk_families, gauge, unreadable_family
from exchange.plan.lease import Lease, LeaseLost
from exchange.plan.priors import read_priors
from exchange.plan.serving_plan import read_plan
from exchange.storage import StorageRoot
from exchange.storage.locations import MAX_DOMAINS

_ROUND_SECONDS = (60, 300, 900, 1800, 3600, 2 * 3600, 4 * 3600, 8 * 3600, 12 * 3600, 24 * 3600)


class LearnerMetrics(Collector):
    """Of the learner that holds the lease."""

    def __init__(
        self,
        *,
        root: StorageRoot,
        book: RoundBook,
        gateways: GatewayWatch,
        rollouts: Rollouts,
        promoted: PromotedWatch,
        triggers: Triggers,
        duties: Callable[[], Iterable[str]],
        troubles: Callable[[], Iterable[str]],
        left_out: LeftOutFrames,
        run_dir: Path,
    ) -> None:
        """`duties`: names of what the learner does again and again; `troubles`: those of them that do not work now."""
        self._root = root
        self._book = book
        self._gateways = gateways
        self._rollouts = rollouts
        self._promoted = promoted
        self._triggers = triggers
        self._duties = duties
        self._troubles = troubles
        self._left_out = left_out
        self._disks = {"run_dir": run_dir, **_root_folder(root)}
        self._open_rounds = OpenRounds(root)
        self._gate = GateFigures(root)
        self._ended_before: set[str] | None = None
        self._seen: tuple[Metric, ...] = ()
        self._weighed: tuple[Metric, ...] = ()
        self._rounds = Counter("roadshift_rounds", "Rounds that ended, by outcome.", ("outcome",), registry=None)
        self._durations = Histogram(
            "roadshift_round_duration_seconds",
            "From a round's request to its end.",
            ("outcome",),
            buckets=_ROUND_SECONDS,
            registry=None,
        )
        for phase in Phase:
            if phase.is_final:
                self._rounds.labels(phase.value)
                self._durations.labels(phase.value)

    def look(self) -> None:
        """Reads what changes from moment to moment.

        Raises:
            RecordError, StorageError: the plan cannot be read, or the root does not answer; the next call may succeed.
        """
        rounds = self._book.all()
        ended = {state.id for state in rounds if state.phase.is_final}
        for state in rounds:
            if self._ended_before is not None and state.id in ended - self._ended_before:
                self._rounds.labels(state.phase.value).inc()
                self._durations.labels(state.phase.value).observe((state.changed_at - state.created_at).total_seconds())
        self._ended_before = ended
        stored = read_plan(self._root)
        plan = None if stored is None else stored.plan
        self._seen = (
            *self._open_rounds.families([state for state in rounds if not state.phase.is_final]),
            *self._gate.families(rounds),
            *plan_families(plan, self._rollouts.waiting),
            *prior_families(read_priors(self._root), plan),
        )

    def weigh(self) -> None:
        """Lists the whole root, which is for once in a while. Raises RecordError or StorageError."""
        self._weighed = (*storage_families(self._root), *label_families(self._root))

    def collect(self) -> Iterator[Metric]:
        yield from self._rounds.collect()
        yield from self._durations.collect()
        yield from self._seen
        yield from sight_families(self._triggers.sights, self._triggers.drifts)
        yield from self._weighed
        yield from disk_families(self._disks)
        alive = "Gateways that were seen to beat in the last seconds."
        yield GaugeMetricFamily("roadshift_gateways_alive", alive, len(self._gateways.alive()))
        damaged = "Rounds whose state cannot be understood."
        yield GaugeMetricFamily("roadshift_rounds_damaged", damaged, len(self._book.damaged))
        yield from self._unreadable()
        yield unreadable_family(self._root.unreadable)
        decided = CounterMetricFamily(
            "roadshift_candidates", "Candidates that ended by themselves.", labels=("outcome",)
        )
        for outcome in OUTCOMES:
            decided.add_metric((outcome,), self._rollouts.decided[outcome])
        yield decided
        rolled_back = "Promotions that the learner itself took back."
        yield CounterMetricFamily("roadshift_rollbacks", rolled_back, self._promoted.rolled_back)
        yield self._trouble()

    def _unreadable(self) -> Iterator[Metric]:
        for name, what, counts in (
            ("frames", "Captured frames", self._left_out.frames),
            ("shards", "Captured shards", self._left_out.shards),
        ):
            text = f"{what} that cannot be read and are left out."
            family = CounterMetricFamily(f"roadshift_unreadable_{name}", text, labels=("domain",))
            for domain, count in counts.copy().most_common(MAX_DOMAINS):
                family.add_metric((domain,), count)
            yield family

    def _trouble(self) -> Metric:
        family = gauge("roadshift_learner_trouble", "1 where a duty of the learner does not work just now.", "duty")
        troubles = set(self._troubles())
        for duty in self._duties():
            family.add_metric((duty,), duty in troubles)
        return family


def _root_folder(root: StorageRoot) -> dict[str, Path]:
    """Of a root that is on a disk of this machine."""
    return {} if root.location.folder is None else {"root": root.location.folder}


def lease_gauge(registry: CollectorRegistry) -> Callable[[Lease], None]:
    """Shows 0 until it is called with the lease, and again when that is lost."""
    gauge = Gauge("roadshift_lease_held", "1 while this learner may change what is served.", registry=registry)
    return lambda lease: gauge.set_function(lambda: _is_held(lease))


def _is_held(lease: Lease) -> bool:
    try:
        lease.check()
    except LeaseLost:
        return False
    return True
