"""What is in the root, in numbers for Prometheus: the plan, the priors, how much is stored, and what people label."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import get_args

from prometheus_client.core import GaugeMetricFamily, Metric

from adaptation.control.rounds.round_state import Sight
from exchange.label_space import CLASS_NAMES
from exchange.metrics_port import gauge
from exchange.plan.estimate import CLIP
from exchange.plan.plan_changes import DEFAULT
from exchange.plan.priors import LiveEstimate, PriorRecord
from exchange.plan.serving_plan import ServingPlan
from exchange.regions.batches import labelled_domains, read_batches
from exchange.regions.tasks import TaskState, tasks_of
from exchange.storage import StorageRoot
from exchange.storage.locations import AUDIT, FRAMES, MAX_DOMAINS, PRESENCE, REGIONS, RELEASES, ROUNDS, ShardName

_KINDS = (FRAMES, PRESENCE, RELEASES, ROUNDS, REGIONS, AUDIT)


def plan_families(plan: ServingPlan | None, waiting: Callable[[str], str]) -> Iterator[Metric]:
    """`waiting`: what a domain's candidate waits for, empty where its time runs."""
    revision = gauge("roadshift_written_plan_revision", "Of the serving plan in the root.")
    serving = gauge("roadshift_domain_version", "Release that a domain is served with.", "domain")
    share = gauge("roadshift_candidate_share_ratio", "Of the frames, for a domain's candidate.", "domain", "version")
    shadow = gauge("roadshift_candidate_shadow_share_ratio", "Of the frames, as copies.", "domain", "version")
    waits = gauge("roadshift_candidate_waiting", "1 where a candidate's time does not run yet.", "domain", "version")
    if plan is not None:
        revision.add_metric((), plan.revision)
        for domain, served in {DEFAULT: plan.default, **plan.domains}.items():
            serving.add_metric((domain,), served.serving)
            if served.candidate is not None:
                labels = domain, str(served.candidate.version)
                share.add_metric(labels, served.candidate.share)
                shadow.add_metric(labels, served.candidate.shadow_share)
                waits.add_metric(labels, bool(waiting(domain)))
    yield from (revision, serving, share, shadow, waits)


def prior_families(records: Sequence[PriorRecord], plan: ServingPlan | None) -> Iterator[Metric]:
    """Of the version that serves a domain, or else the newest that is known of it."""
    families = {
        part: gauge(f"roadshift_prior_{name}", text, "domain", "class_name")
        for part, name, text in (
            ("share", "share_ratio", "Share of a domain's frames in which a class is seen."),
            ("low", "share_low_ratio", "Lower end of the 90 % interval of its true share."),
            ("high", "share_high_ratio", "Upper end of that interval."),
            ("log_ratio", "log_ratio", "What follows for the class's logit."),
        )
    }
    frames = gauge("roadshift_prior_effective_frames", "Of how many independent frames a prior is worth.", "domain")
    frozen = gauge("roadshift_prior_frozen", "1 where an operator keeps it as it is.", "domain")
    for record in records[:MAX_DOMAINS]:
        frozen.add_metric((record.domain,), record.frozen)
        if (estimate := _served_estimate(record, plan)) is not None:
            frames.add_metric((record.domain,), estimate.effective_frames)
            for part, family in families.items():
                for name, value in zip(CLASS_NAMES, getattr(estimate, part), strict=True):
                    family.add_metric((record.domain, name), value)
    yield from families.values()
    limit = "No class's log ratio goes beyond."
    yield from (frames, frozen, GaugeMetricFamily("roadshift_prior_log_ratio_limit", limit, CLIP))


def _served_estimate(record: PriorRecord, plan: ServingPlan | None) -> LiveEstimate | None:
    if not record.estimates:
        return None
    newest = record.estimates[max(record.estimates)]
    return newest if plan is None else record.estimates.get(plan.of(record.domain).serving, newest)


def sight_families(sights: Mapping[str, Sight], drifts: Mapping[str, str]) -> Iterator[Metric]:
    """How domains look to the versions that serve them."""
    confidence = gauge("roadshift_domain_confidence_ratio", "Mean confidence of a domain's latest frames.", "domain")
    drifted = gauge("roadshift_domain_drifted", "1 where a domain has drifted since its last round.", "domain")
    for domain, sight in sights.items():
        confidence.add_metric((domain,), sight.mean_confidence)
        drifted.add_metric((domain,), bool(drifts.get(domain)))
    yield from (confidence, drifted)


def storage_families(root: StorageRoot) -> Iterator[Metric]:
    """Lists everything that grows. Raises StorageError."""
    size = gauge("roadshift_storage_bytes", "Stored in the root.", "kind")
    stored = gauge("roadshift_stored_frames", "Captured frames in the root.", "domain")
    frames: Counter[str] = Counter()
    for kind in _KINDS:
        objects = root.list_objects(kind)
        size.add_metric((kind,), sum(info.size_bytes for info in objects))
        for info in objects if kind == FRAMES else ():
            if (name := ShardName.parse(info.key)) is not None:
                frames[name.domain] += name.frames
            else:
                root.unreadable.note(info.key, f"{info.key} is no shard by its name: move it out of the root")
    for domain, count in frames.most_common(MAX_DOMAINS):
        stored.add_metric((domain,), count)
    yield from (size, stored)


def label_families(root: StorageRoot) -> Iterator[Metric]:
    """Reads all that people were asked. Raises RecordError or StorageError."""
    family = gauge("roadshift_label_tasks", "Regions that people were asked to label.", "domain", "state")
    now = datetime.now(UTC)
    for domain in labelled_domains(root)[:MAX_DOMAINS]:
        states = Counter(task.state(now) for task in tasks_of(read_batches(root, domain)))
        for state in get_args(TaskState):
            family.add_metric((domain, state), states[state])
    yield family
