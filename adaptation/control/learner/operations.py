"""What operators may ask of a learner, whoever carries the question."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType

from adaptation.control.learner.triggers import TriggerRule, set_trigger
from adaptation.control.prior.deciding import freeze_prior, reset_prior
from adaptation.control.releases.deciding import Order, promote, reset, roll_back
from adaptation.control.rounds.round_state import (
    Phase,
    Request,
    RoundBook,
    RoundState,
    change_round,
    new_round_id,
    read_round,
    state_key,
)
from adaptation.control.settings import LearnerSettings
from exchange.failpoints import failpoint
from exchange.jobs.recipes import RoundConfig
from exchange.net.request_values import BadValue, checked_text, checked_why
from exchange.plain_words import shown
from exchange.plan.lease import Lease
from exchange.plan.plan_changes import apply_change, with_candidate
from exchange.plan.priors import PriorRecord
from exchange.plan.serving_plan import ServingPlan
from exchange.registry import require_present
from exchange.registry.audit import AuditEntry, audited
from exchange.registry.pins import set_pin
from exchange.storage import ObjectExists, StorageRoot

MOST_WAITING = 16
MOST_KEY_BYTES = 128


class TooManyWaiting(Exception):
    """The message says what to do."""


class KeyUsed(Exception):
    """The idempotency key belongs to a round that was asked for otherwise."""


def _check_reason(why: str, needed: str) -> None:
    """Raises BadValue where there is none though one is `needed`, or one that cannot be."""
    if needed and not why.strip():
        raise BadValue(f"say why {needed}")
    checked_why(why, required=bool(needed))


class Operations:
    """Calls may come from any thread; each returns when what was asked for is in the root."""

    def __init__(
        self,
        root: StorageRoot,
        lease: Lease,
        settings: LearnerSettings,
        book: RoundBook,
        wake: Callable[[], None],
    ) -> None:
        """`wake` is called where the learner has something to do."""
        self.root = root
        self._lease = lease
        self._settings = settings
        self._recipes: MappingProxyType[str, RoundConfig] = settings.recipes()
        self._book = book
        self._wake = wake
        self._queueing = threading.Lock()
        """Holds for the whole root: nobody but the lease's holder queues rounds."""

    def start_round(self, request: Request, *, by: str, key: str = "", why: str = "") -> RoundState:
        """Queues a round; the same key gives the round that it began. An empty recipe stands for the default.

        Raises:
            BadValue, KeyUsed, TooManyWaiting; LeaseLost, RecordError, StorageError.
        """
        request = request.model_copy(update={"recipe": request.recipe or self._settings.recipe})
        if request.recipe not in self._recipes:
            raise self._no_recipe(request.recipe)
        _check_reason(why, "the gate's verdict is not to count" if request.force else "")
        checked_text("the idempotency key", key, most_bytes=MOST_KEY_BYTES)
        now, round_id = datetime.now(UTC), new_round_id(key)
        state = RoundState(id=round_id, request=request, requested_by=by, created_at=now, changed_at=now)
        state = state.told(f"asked for by {by}{f': {why}' if why else ''}")
        told = request.model_dump(mode="json", exclude={"domain"})
        entry = AuditEntry(who=by, what="start-round", domain=request.domain, round_id=round_id, why=why, details=told)
        try:
            with self._queueing:  # or several would count the same places
                if key and self.root.read_if_any(state_key(round_id)) is not None:
                    return self._begun_before(round_id, request)
                if sum(not known.phase.is_final for known in self._book.all()) >= MOST_WAITING:
                    raise TooManyWaiting(f"{MOST_WAITING} rounds wait: cancel one, or ask again when one has ended")
                self._lease.check()
                failpoint("round.before-queued")
                with audited(self.root, entry):
                    self.root.create(state_key(round_id), state.encode())
        except ObjectExists:  # the round of the same key, which is read and compared with this request
            return self._begun_before(round_id, request)
        failpoint("round.after-queued")
        self._wake()
        return state

    def cancel_round(self, round_id: str, *, by: str) -> RoundState:
        """Raises NoSuchRound; LeaseLost, RecordError, StorageError."""

        def is_over(state: RoundState) -> bool:
            return state.phase.is_final or state.cancelled_by is not None

        def cancelled(state: RoundState) -> RoundState:
            if is_over(state):
                return state
            if state.phase is Phase.QUEUED:
                return state.moved(Phase.CANCELLED, f"cancelled by {by}", cancelled_by=by)
            return state.told(f"{by} cancels it").model_copy(update={"cancelled_by": by})

        self._lease.check()
        state = read_round(self.root, round_id)
        if is_over(state):
            return state
        entry = AuditEntry(who=by, what="cancel-round", domain=state.request.domain, round_id=round_id)
        with audited(self.root, entry):
            state = change_round(self.root, round_id, cancelled)
        self._wake()
        return state

    def promote(self, version: int, order: Order, *, force: bool) -> ServingPlan:
        """A candidate for the gateways to try, or, forced, what is served at once.

        Raises:
            BadValue: forced without a reason, or one that cannot be.
            PlanRefused; LeaseLost, RecordError, StorageError.
        """
        _check_reason(order.why, "the rollout is to be passed over" if force else "")
        plan = promote(self.root, self._lease, version, order, forced=True) if force else self._try(version, order)
        self._wake()
        return plan

    def roll_back(self, order: Order) -> ServingPlan:
        """Raises BadValue, PlanRefused; LeaseLost, RecordError, StorageError."""
        checked_why(order.why)
        plan = roll_back(self.root, self._lease, order)
        self._wake()
        return plan

    def reset(self, order: Order) -> ServingPlan:
        """Serves the anchor again. Raises BadValue, PlanRefused; LeaseLost, RecordError, ReleaseError, StorageError."""
        checked_why(order.why)
        plan = reset(self.root, self._lease, order)
        self._wake()
        return plan

    def freeze_prior(self, domain: str, *, frozen: bool, by: str, why: str = "") -> PriorRecord:
        """Raises BadValue; RecordError, StorageError."""
        return freeze_prior(self.root, domain, frozen=frozen, who=by, why=checked_why(why))

    def reset_prior(self, domain: str, *, by: str, why: str = "") -> PriorRecord:
        """Raises BadValue; RecordError, StorageError."""
        return reset_prior(self.root, domain, who=by, why=checked_why(why))

    def pin(self, version: int, *, pinned: bool, by: str) -> tuple[int, ...]:
        """Returns all that are pinned. Raises ReleaseError; RecordError, StorageError."""
        require_present(self.root, version)
        with audited(self.root, AuditEntry(who=by, what="pin" if pinned else "unpin", version=version)):
            return set_pin(self.root, version, pinned=pinned)

    def set_trigger(self, domain: str, rule: TriggerRule, *, by: str) -> TriggerRule:
        """Raises BadValue; RecordError, StorageError."""
        if rule.recipe is not None and rule.recipe not in self._recipes:
            raise self._no_recipe(rule.recipe)
        told = rule.model_dump(mode="json")
        with audited(self.root, AuditEntry(who=by, what="set-trigger", domain=domain, details=told)):
            set_trigger(self.root, domain, rule)
        return rule

    def _try(self, version: int, order: Order) -> ServingPlan:
        domain, shadow_share = order.domain, self._settings.rollout.shadow_share
        change = partial(with_candidate, version=version, domain=domain, share=0.0, shadow_share=shadow_share)
        with audited(self.root, AuditEntry(who=order.who, what="try", version=version, domain=domain, why=order.why)):
            plan = apply_change(self.root, self._lease, change)
        assert plan is not None  # noqa: S101 - there is a plan where there is a candidate
        return plan

    def _no_recipe(self, name: str) -> BadValue:
        return BadValue(f"there is no recipe {shown(name)}: choose one of {', '.join(self._recipes)}")

    def _begun_before(self, round_id: str, request: Request) -> RoundState:
        known = read_round(self.root, round_id)
        if known.request != request:
            raise KeyUsed(f"this idempotency key began round {known.id}, which was asked for otherwise: use another")
        return known
