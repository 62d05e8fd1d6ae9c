"""Keeps every domain's prior in the serving plan where the presence rows say it is."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from exchange.fleet.presence import PresenceReader, PresenceRows, domains_with_presence
from exchange.label_space import NUM_CLASSES
from exchange.plan.estimate import WINDOW_S, SourceView, estimate
from exchange.plan.lease import Lease
from exchange.plan.priors import LiveEstimate, PriorRecord, change_prior, read_prior, read_priors
from exchange.plan.serving_plan import NO_PRIOR_ID, DomainPlan, PlanContent, ServingPlan, change_plan
from exchange.registry import read_published_manifest
from exchange.registry.releases import Manifest, ReleaseError, read_manifest
from exchange.storage import ObjectMissing, StorageRoot
from exchange.storage.locations import MAX_DOMAINS, ledger_key, prior_key
from exchange.storage.readable_objects import UNREADABLE

LEAST_MOVE = 0.05
"""The plan is changed when some class's log ratio moves by more."""
_NO_RATIO = (0.0,) * NUM_CLASSES


class LivePrior:
    """One learner's; `update` is called every few seconds by whoever holds the lease."""

    def __init__(self, root: StorageRoot, lease: Lease, releases: Sequence[Path] = ()) -> None:
        """`releases`: folders of releases that are served although the root's ledger does not have them.

        Raises:
            ReleaseError: one is none.
        """
        self._root = root
        self._lease = lease
        self._manifests: dict[int, Manifest] = {}
        for folder in releases:
            manifest = read_manifest(folder)
            self._manifests[manifest.version or 1] = manifest
        self._readers: dict[str, PresenceReader] = {}
        self._newest: dict[str, tuple[int, float]] = {}

    def update(self) -> ServingPlan | None:
        """Estimates each domain's prior anew, and writes those that moved into the plan; returns the plan.

        Raises:
            LeaseLost: this learner may write no more.
            RecordError, StorageError: something could not be read or written; the next call may succeed.
        """
        known = {record.domain for record in read_priors(self._root)}
        domains = sorted(known | set(domains_with_presence(self._root)))[:MAX_DOMAINS]
        records = {domain: record for domain in domains if (record := self._record(domain)) is not None}
        return change_plan(self._root, self._lease, lambda plan: self._content(plan, records))

    def _record(self, domain: str) -> PriorRecord | None:
        """None where it cannot be read: the domain, and no other one, is served with the prior that it has."""
        try:
            read_prior(self._root, domain)
        except UNREADABLE as error:
            self._root.unreadable.note(prior_key(domain), error)
            return None
        return self._update_record(domain)

    def _update_record(self, domain: str) -> PriorRecord:
        """Where there are new rows; a domain where nobody drives keeps the prior that it has."""
        reader = self._readers.setdefault(domain, PresenceReader(self._root, domain))
        rows = reader.rows_since(datetime.now(UTC) - timedelta(seconds=WINDOW_S))
        newest = (len(rows), rows.captured_s_N.max(initial=0.0))
        if self._newest.get(domain) == newest:
            return read_prior(self._root, domain)

        def renewed(record: PriorRecord) -> PriorRecord:
            found = self._estimates(rows, record.since)
            return record.model_copy(update={"estimates": found or record.estimates})

        record = change_prior(self._root, domain, renewed)
        self._newest[domain] = newest
        return record

    def _estimates(self, rows: PresenceRows, since: datetime | None) -> dict[int, LiveEstimate]:
        """Of each version whose release is known."""
        counted_N = rows.captured_s_N > (0.0 if since is None else since.timestamp())
        found = {}
        for version in sorted(set(rows.version_N[counted_N].tolist())):
            if (manifest := self._manifest(version)) is None:
                continue
            chosen = rows[counted_N & (rows.version_N == version)]
            recent = chosen[chosen.captured_s_N > chosen.captured_s_N[-1] - WINDOW_S]
            if (made := estimate(recent, SourceView.of(manifest))) is not None:
                found[version] = made
        return found

    def _manifest(self, version: int) -> Manifest | None:
        """What is known of a version that answered frames."""
        if version not in self._manifests:
            try:
                self._manifests[version] = read_published_manifest(self._root, version)
            except (ObjectMissing, ReleaseError):
                pass
            except UNREADABLE as error:  # rows of other versions still count
                self._root.unreadable.note(ledger_key(version), error)
        return self._manifests.get(version)

    def _content(self, plan: ServingPlan | None, records: dict[str, PriorRecord]) -> PlanContent | None:
        """None where there is neither a plan nor anything to begin one with."""
        if plan is None and not any(record.estimates for record in records.values()):
            return None
        default = self._first_default(records) if plan is None else plan.default
        domains = {} if plan is None else dict(plan.domains)
        for domain, record in records.items():
            present = default if domain == "default" else domains.get(domain, default)
            wanted = present if record.frozen else _with_prior(present, record)
            if domain == "default":
                default = wanted
            elif domain in domains or wanted != default:
                domains[domain] = wanted
        return PlanContent(default, domains)

    def _first_default(self, records: dict[str, PriorRecord]) -> DomainPlan:
        """What most frames were answered by."""
        frames: Counter[int] = Counter()
        for record in records.values():
            frames.update({version: made.frames for version, made in record.estimates.items()})
        return DomainPlan(serving=frames.most_common(1)[0][0])


def _with_prior(plan: DomainPlan, record: PriorRecord) -> DomainPlan:
    """The plan with the record's ratios, where they differ enough from those that it has."""
    wanted = {version: made.log_ratio for version, made in record.estimates.items()}
    moved = max(
        (
            np.abs(np.subtract(wanted.get(version, _NO_RATIO), plan.log_prior_ratio.get(version, _NO_RATIO))).max()
            for version in {*wanted, *plan.log_prior_ratio}
        ),
        default=0.0,
    )
    if moved <= LEAST_MOVE and (wanted or not plan.log_prior_ratio):
        return plan
    prior_id = f"{record.domain}-{datetime.now(UTC):%Y%m%dT%H%M%S}" if wanted else NO_PRIOR_ID
    return plan.model_copy(update={"prior_id": prior_id, "log_prior_ratio": wanted})
