"""Changes of what is served, each told in the audit before it is written.

Who changes the plan holds the lease: the learner while one runs, otherwise whoever gives the order, for a moment.
"""

from collections.abc import Callable
from dataclasses import dataclass

from pydantic import JsonValue

from exchange.failpoints import failpoint
from exchange.plan.lease import Lease
from exchange.plan.plan_changes import DEFAULT, PlanRefused, apply_change, promoted, rolled_back, served_with
from exchange.plan.serving_plan import PlanContent, ServingPlan, read_plan
from exchange.registry import anchor_of
from exchange.registry.audit import AuditEntry, audited
from exchange.storage import StorageRoot


class GateRefused(Exception):
    """A release that the gate does not let through, or that no gate has seen; the message says what to do."""


@dataclass(frozen=True)
class Order:
    """Who wants a change, where, and why."""

    who: str
    domain: str | None = None
    """None: the default, and all domains that are served like it."""
    why: str = ""


def promote(
    root: StorageRoot,
    lease: Lease,
    version: int,
    order: Order,
    *,
    forced: bool = False,
    details: dict[str, JsonValue] | None = None,
) -> ServingPlan:
    """Serves a release; the gate is the caller's affair, and what it measured belongs into `details`.

    Raises:
        PlanRefused: it is served already, or is not there.
        LeaseLost, RecordError, StorageError: nothing is changed.
    """

    def change(content: PlanContent | None) -> PlanContent:
        return promoted(content, version, domain=order.domain)

    return _write(root, lease, order, "promote", change, forced, details)


def roll_back(root: StorageRoot, lease: Lease, order: Order) -> ServingPlan:
    """Serves the previous release again. Raises as `promote`; PlanRefused where there is none."""
    return _write(root, lease, order, "rollback", lambda content: rolled_back(content, domain=order.domain))


def reset(root: StorageRoot, lease: Lease, order: Order) -> ServingPlan:
    """Serves the release that all adaptation of what is served began with. Raises as `promote`, and ReleaseError."""
    anchor = anchor_of_served(root, order.domain)
    return _write(root, lease, order, "reset", lambda content: served_with(content, anchor, domain=order.domain))


def anchor_of_served(root: StorageRoot, domain: str | None) -> int:
    """Raises PlanRefused where nothing is served yet; ReleaseError, RecordError or StorageError."""
    stored = read_plan(root)
    if stored is None:
        raise PlanRefused("there is no plan yet: nothing was promoted that could be reset")
    return anchor_of(root, stored.plan.of(domain or DEFAULT).serving)


def _write(
    root: StorageRoot,
    lease: Lease,
    order: Order,
    what: str,
    change: Callable[[PlanContent | None], PlanContent],
    forced: bool = False,
    details: dict[str, JsonValue] | None = None,
) -> ServingPlan:
    stored = read_plan(root)
    wanted = change(None if stored is None else PlanContent(stored.plan.default, stored.plan.domains))  # or refuses
    entry = AuditEntry(
        who=order.who,
        what=what,
        version=wanted.domains.get(order.domain or DEFAULT, wanted.default).serving,
        domain=order.domain,
        why=order.why,
        forced=forced,
        details=details or {},
    )
    with audited(root, entry):
        failpoint(f"{what}.after-audit")
        plan = apply_change(root, lease, change)
        failpoint(f"{what}.after-plan")
    assert plan is not None  # noqa: S101 - the change gives one
    return plan
