"""`roadshift repair`: what a root cannot go on without, written anew where it cannot be read any more."""

import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated

import typer

from adaptation.cli.command_line import Direct, Root, Why, explained, open_storage, plan_writer, say_served
from exchange.fleet.gateways import read_heartbeats
from exchange.plan.lease import LASTS_S, Lease, LeaseRecord
from exchange.plan.plan_changes import PlanRefused
from exchange.plan.serving_plan import DomainPlan, ServingPlan
from exchange.registry import repair_entries, require_present
from exchange.registry.audit import AuditEntry, audited, user_at_host
from exchange.storage import StorageRoot
from exchange.storage.locations import LEASE, SERVING_PLAN
from exchange.storage.records import RecordError, RecordTooNew

_SKIPPED = 1000
"""Revisions and epochs that may have been written since the highest one that is still told of."""


def repair(
    root: Root,
    serve: Annotated[int | None, typer.Option(min=1, help="The release to serve where the plan is damaged.")] = None,
    direct: Direct = False,
    why: Why = "",
) -> None:
    """Write lease, ledger entries and serving plan anew where they are damaged; what can be read stays as it is.

    A new plan serves one release in all domains, without priors, which are estimated anew.
    """
    with explained():
        storage, who = open_storage(root), user_at_host()
        lease_was_damaged = repair_lease(storage, who)
        versions = repair_entries(storage)
        plan_is_damaged = _is_damaged_plan(storage)
        if plan_is_damaged:
            if serve is None:
                raise PlanRefused(f"{SERVING_PLAN} is damaged: say by --serve which release is to be served")
            with plan_writer(storage, who, direct) as lease:
                say_served(repair_plan(storage, lease, serve, who, why), None)
        done = [LEASE] * lease_was_damaged + [f"ledger entry {version}" for version in versions]
        if done:
            typer.echo(f"written anew: {', '.join(done)}")
        elif not plan_is_damaged:
            typer.echo("nothing is damaged")


def repair_lease(root: StorageRoot, who: str) -> bool:
    """Write a lease that cannot be read anew, as one that was given back; return whether it was so.

    Raises:
        RecordTooNew: it is of a later major.
        StorageError: it cannot be read or written, or somebody else was quicker.
    """
    found = root.read_if_any(LEASE)
    if found is None:
        return False
    try:
        LeaseRecord.decode(found.data, LEASE)
        return False
    except RecordTooNew:
        raise
    except RecordError:
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
    with lease.writing, audited(root, AuditEntry(who=who, what="repair-plan", version=version, why=why)):
        lease.check()
        root.replace(SERVING_PLAN, plan.encode(), found.etag)
    return plan


def _is_damaged_plan(root: StorageRoot) -> bool:
    """Raises RecordTooNew where it is of a later major; StorageError."""
    found = root.read_if_any(SERVING_PLAN)
    try:
        if found is not None:
            ServingPlan.decode(found.data, SERVING_PLAN)
    except RecordTooNew:
        raise
    except RecordError:
        return True
    return False


def _numbers(data: bytes, name: str) -> list[int]:
    """What a damaged object still says of a number."""
    return [int(digits) for digits in re.findall(rb'"%s"\s*:\s*([0-9]{1,12})\b' % name.encode(), data)]
