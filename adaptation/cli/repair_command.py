"""`roadshift repair`: what a root cannot go on without, written anew where it cannot be read any more."""

import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated

import typer

from adaptation.cli.command_line import Direct, Root, Why, console, explained, open_storage, plan_writer, say_served
from adaptation.control.learner.triggers import TriggerBook
from exchange.fleet.gateways import read_heartbeats
from exchange.plan.lease import LASTS_S, Lease, LeaseRecord
from exchange.plan.plan_changes import PlanRefused
from exchange.plan.serving_plan import DomainPlan, ServingPlan
from exchange.registry import repair_entries, require_present, void_damaged_claims
from exchange.registry.audit import REPAIR_PLAN, AuditEntry, audited, user_at_host
from exchange.registry.pins import Pins, all_pinned
from exchange.storage import StorageRoot, StoredObject
from exchange.storage.locations import CLAIM_NAME, LEASE, PINS, SERVING_PLAN, TRIGGERS, release_key
from exchange.storage.records import Record, RecordError, RecordTooNew

_SKIPPED = 1000
"""Revisions and epochs that may have been written since the highest one that is still told of."""


def repair(
    root: Root,
    serve: Annotated[int | None, typer.Option(min=1, help="The release to serve where the plan is damaged.")] = None,
    direct: Direct = False,
    why: Why = "",
) -> None:
    """Write what a root cannot go on without anew where it is damaged; what can be read stays as it is.

    That is lease, ledger entries, triggers (none are left), pins (every release is pinned) and the serving plan. A new
    plan serves one release in all domains, without priors, which are estimated anew. A number whose claim is damaged is
    made void, if no release was published under it.
    """
    with explained():
        storage, who = open_storage(root), user_at_host()
        done = [f"written anew: {LEASE}"] if repair_lease(storage, who) else []
        done += [f"written anew: ledger entry {version}" for version in repair_entries(storage)]
        done += _repair_claims(storage, who)
        done += _repair_triggers(storage, who, why) + _repair_pins(storage, who, why)
        plan_is_damaged = _damaged(storage, SERVING_PLAN, ServingPlan) is not None
        if done or not plan_is_damaged:
            typer.echo("\n".join(done) or "nothing is damaged")
        if plan_is_damaged:
            if serve is None:
                raise PlanRefused(f"{SERVING_PLAN} is damaged: say by --serve which release is to be served")
            with plan_writer(storage, who, direct, instead="take the lease from it by --direct") as lease:
                say_served(repair_plan(storage, lease, serve, who, why), None)


def repair_lease(root: StorageRoot, who: str) -> bool:
    """Write a lease that cannot be read anew, as one that was given back; return whether it was so.

    Raises:
        RecordTooNew: it is of a later major.
        StorageError: it cannot be read or written, or somebody else was quicker.
    """
    if (found := _damaged(root, LEASE, LeaseRecord)) is None:
        return False
    plan = root.read_if_any(SERVING_PLAN)
    told = _numbers(found.data, "epoch") + ([] if plan is None else _numbers(plan.data, "lease_epoch"))
    record = LeaseRecord(
        epoch=max(told, default=0) + _SKIPPED,
        holder=who,
        lasts_s=LASTS_S,
        released=True,
        renewed_at=datetime.now(UTC),
        nonce="repaired",
    )
    root.replace(LEASE, record.encode(), found.etag)
    return True


def repair_plan(root: StorageRoot, lease: Lease, version: int, who: str, why: str = "") -> ServingPlan:
    """Write a plan that cannot be read anew: one release for all domains, at a revision that gateways take.

    Raises:
        LeaseLost: this holder may write no more.
        ReleaseError, RecordError: the release is not there to be served.
        StorageError: the root cannot be read or written, or somebody else was quicker.
    """
    require_present(root, version)
    found = root.read(SERVING_PLAN)
    told = _numbers(found.data, "revision")
    with suppress(RecordError):
        told += [beat.plan_revision for beat in read_heartbeats(root)]
    plan = ServingPlan(
        revision=max(told, default=0) + _SKIPPED,
        written_at=datetime.now(UTC),
        lease_epoch=lease.epoch,
        default=DomainPlan(serving=version),
    )
    with lease.writing, audited(root, AuditEntry(who=who, what=REPAIR_PLAN, version=version, why=why)):
        lease.check()
        root.replace(SERVING_PLAN, plan.encode(), found.etag)
    return plan


def _repair_claims(root: StorageRoot, who: str) -> list[str]:
    void, decided = void_damaged_claims(root, who)
    told = [f"void: release {version}, which was not published yet, and whose claim is damaged" for version in void]
    return told + [
        f"damaged, and left so, as the ledger counts: {release_key(version, CLAIM_NAME)}" for version in decided
    ]


def _repair_triggers(root: StorageRoot, who: str, why: str) -> list[str]:
    if (found := _damaged_unless_newer(root, TRIGGERS, TriggerBook)) is None:
        return []
    _rewrite(root, TRIGGERS, found, TriggerBook(), AuditEntry(who=who, what="repair-triggers", why=why))
    return [f"written anew: {TRIGGERS}, with no trigger: set each again by roadshift trigger set"]


def _repair_pins(root: StorageRoot, who: str, why: str) -> list[str]:
    """Pins everything that may have been pinned: what is pinned is not deleted."""
    if (found := _damaged_unless_newer(root, PINS, Pins)) is None:
        return []
    pins = all_pinned(root)
    _rewrite(root, PINS, found, pins, AuditEntry(who=who, what="repair-pins", why=why))
    named = ", ".join(map(str, pins.pinned)) or "none"
    return [
        f"written anew: {PINS}, with every stored release: {named}; roadshift release pin VERSION --off lets one go"
    ]


def _rewrite(root: StorageRoot, key: str, damaged: StoredObject, record: Record, entry: AuditEntry) -> None:
    """Replace a record that many write without the lease, unless somebody was quicker."""
    with audited(root, entry):
        root.replace(key, record.encode(), damaged.etag)


def _damaged_unless_newer(root: StorageRoot, key: str, kind: type[Record]) -> StoredObject | None:
    """Return a damaged record; one that a later release wrote is told: it keeps nothing else from its repair."""
    try:
        return _damaged(root, key, kind)
    except RecordTooNew as error:
        console.print(str(error), highlight=False, markup=False, soft_wrap=True)
        return None


def _damaged(root: StorageRoot, key: str, kind: type[Record]) -> StoredObject | None:
    """Return a damaged record as it is stored. Raises RecordTooNew where it is of a later major; StorageError."""
    found = root.read_if_any(key)
    try:
        if found is not None:
            kind.decode(found.data, key)
    except RecordTooNew:
        raise
    except RecordError:
        return found
    return None


def _numbers(data: bytes, name: str) -> list[int]:
    """What a damaged object still says of a number."""
    return [int(digits) for digits in re.findall(rb'"%s"\s*:\s*([0-9]{1,12})\b' % name.encode(), data)]
