"""What every gateway serves, and how the one writer changes it.

The plan is one object, replaced by compare-and-swap. Its writer holds the lease; the lease's epoch is in the plan, so
that whoever held an earlier one can never write again.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import AfterValidator, Field

from exchange.plan.lease import Lease, LeaseLost
from exchange.storage import ObjectChanged, ObjectExists, StorageRoot
from exchange.storage.locations import MAX_DOMAINS, SERVING_PLAN, DomainName, Version
from exchange.storage.records import Moment, PerClass, Record

NO_PRIOR_ID = "none"
_ATTEMPTS = 8
HIGHEST_LOG_RATIO = 20.0


def _bounded(values: tuple[float, ...]) -> tuple[float, ...]:
    if max(map(abs, values)) > HIGHEST_LOG_RATIO:
        raise ValueError(f"a log ratio beyond +-{HIGHEST_LOG_RATIO:g} leaves nothing of what the network says")
    return values


LogRatio = Annotated[PerClass, AfterValidator(_bounded)]
Share = Annotated[float, Field(ge=0, le=1)]


class Candidate(Record):
    version: Version
    share: Share = 0.0
    """Of the frames are answered by it."""
    shadow_share: Share = 0.0
    """Of the frames are also labelled by it, for comparison alone."""


class DomainPlan(Record):
    """What one domain is served with."""

    serving: Version
    previous: Version | None = None
    candidate: Candidate | None = None
    prior_id: str = Field(default=NO_PRIOR_ID, min_length=1, max_length=128)
    log_prior_ratio: dict[Version, LogRatio] = Field(default={})
    """By version: log P_target - log output_prior, ready to be added to the logits; a version without one has zeros."""


class ServingPlan(Record):
    """What every domain is served with; one that is not listed gets `default`."""

    REMEDY: ClassVar[str] = "restore it from a backup, or run roadshift repair --serve VERSION"
    format: Literal[1] = 1
    revision: int = Field(ge=1)
    written_at: Moment
    lease_epoch: int = Field(ge=1)
    default: DomainPlan
    domains: dict[DomainName, DomainPlan] = Field(default={}, max_length=MAX_DOMAINS)

    def of(self, domain: str) -> DomainPlan:
        return self.domains.get(domain, self.default)


class StoredPlan(NamedTuple):
    plan: ServingPlan
    etag: str


class PlanContent(NamedTuple):
    """What a change decides; the rest is the writer's."""

    default: DomainPlan
    domains: dict[str, DomainPlan]


def read_plan(root: StorageRoot) -> StoredPlan | None:
    """The plan as it is; None while there is none.

    Raises:
        RecordError: it is not understood.
        StorageError: it cannot be read.
    """
    found = root.read_if_any(SERVING_PLAN)
    return None if found is None else StoredPlan(ServingPlan.decode(found.data, SERVING_PLAN), found.etag)


def change_plan(
    root: StorageRoot, lease: Lease, change: Callable[[ServingPlan | None], PlanContent | None]
) -> ServingPlan | None:
    """Writes what `change` makes of the present plan, one revision up; what it leaves alone stays unwritten.

    `change` may be called again where somebody else wrote in between. Returns the plan as it is then.

    Raises:
        LeaseLost: another holder's epoch is in the plan, or this lease has run out.
        RecordError, StorageError: the plan cannot be read or written.
        ValidationError: the changed plan is none.
    """
    for _ in range(_ATTEMPTS):
        stored = read_plan(root)
        plan = None if stored is None else stored.plan
        if plan is not None and plan.lease_epoch > lease.epoch:
            raise LeaseLost(f"epoch {plan.lease_epoch} writes the serving plan, not {lease.epoch}: start anew")
        content = change(plan)
        if content is None or (plan is not None and content == (plan.default, plan.domains)):
            return plan
        changed = _changed(plan, content, lease.epoch)
        lease.check()
        try:
            if stored is None:
                root.create(SERVING_PLAN, changed.encode())
            else:
                root.replace(SERVING_PLAN, changed.encode(), stored.etag)
        except (ObjectExists, ObjectChanged):
            continue  # whatever is there is read, and its epoch compared, before anything is decided
        return changed
    raise LeaseLost(f"the serving plan changed {_ATTEMPTS} times under this writer: is another learner running?")


def _changed(plan: ServingPlan | None, content: PlanContent, epoch: int) -> ServingPlan:
    now = datetime.now(UTC)
    if plan is None:
        return ServingPlan(revision=1, written_at=now, lease_epoch=epoch, **content._asdict())
    return plan.with_values(revision=plan.revision + 1, written_at=now, lease_epoch=epoch, **content._asdict())
