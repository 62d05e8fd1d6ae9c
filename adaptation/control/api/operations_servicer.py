"""`roadshift.v1.Operations`: translates between the wire and the learner."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
from pydantic import TypeAdapter, ValidationError
from roadshift.v1 import operations_pb2 as pb
from roadshift.v1 import operations_pb2_grpc as pb_grpc

from adaptation.control.api import converters
from adaptation.control.learner.learner import Learner
from adaptation.control.learner.operations import KeyUsed, TooManyWaiting
from adaptation.control.learner.triggers import TriggerBook
from adaptation.control.releases.deciding import Order
from adaptation.control.rounds.round_state import (
    NoSuchRound,
    Phase,
    RoundId,
    RoundState,
    read_progress,
    read_round,
    round_key,
)
from exchange.jobs.round_files import VERDICT_FILE
from exchange.jobs.verdict import Verdict
from exchange.net.callers import Callers, NameTaken, Role, RoleMissing, UnknownCaller
from exchange.net.logs import REQUEST_ID_KEY, request_id, working_on
from exchange.net.request_values import BadValue
from exchange.plain_words import refusal_of, shown
from exchange.plan.lease import LeaseLost
from exchange.plan.plan_changes import PlanRefused
from exchange.plan.priors import read_prior
from exchange.plan.serving_plan import read_plan
from exchange.registry import collected_versions, read_ledger
from exchange.registry.pins import pins_for_a_list
from exchange.registry.releases import ReleaseError
from exchange.storage import ObjectChanged, StorageUnavailable
from exchange.storage.locations import TRIGGERS, DomainName
from exchange.storage.readable_objects import read_readable
from exchange.storage.records import RecordError, RecordTooNew

DEFAULT_LIMIT, MOST_LISTED = 20, 200
_LOOK_EVERY_S = 0.5
_ROUND_ID: TypeAdapter[str] = TypeAdapter(RoundId)
_DOMAIN: TypeAdapter[str] = TypeAdapter(DomainName)

_STATUS: dict[type[Exception], grpc.StatusCode] = {
    RecordTooNew: grpc.StatusCode.FAILED_PRECONDITION,
    ValidationError: grpc.StatusCode.INVALID_ARGUMENT,
    BadValue: grpc.StatusCode.INVALID_ARGUMENT,
    NoSuchRound: grpc.StatusCode.NOT_FOUND,
    ReleaseError: grpc.StatusCode.NOT_FOUND,
    PlanRefused: grpc.StatusCode.FAILED_PRECONDITION,
    KeyUsed: grpc.StatusCode.ALREADY_EXISTS,
    TooManyWaiting: grpc.StatusCode.RESOURCE_EXHAUSTED,
    LeaseLost: grpc.StatusCode.ABORTED,
    ObjectChanged: grpc.StatusCode.ABORTED,
    StorageUnavailable: grpc.StatusCode.UNAVAILABLE,
    RecordError: grpc.StatusCode.DATA_LOSS,
    NameTaken: grpc.StatusCode.INVALID_ARGUMENT,
    UnknownCaller: grpc.StatusCode.UNAUTHENTICATED,
    RoleMissing: grpc.StatusCode.PERMISSION_DENIED,
}


class OperationsServicer(pb_grpc.OperationsServicer):
    """Each call runs in a thread of its sort's, after `CallAccess` has let it."""

    def __init__(self, learner: Learner, callers: Callers) -> None:
        self._learner = learner
        self._root = learner.root
        self._callers = callers

    def StartRound(self, request: pb.StartRoundRequest, context: grpc.ServicerContext) -> pb.Round:  # noqa: N802
        with self._answering(context):
            asked, by = converters.round_request(request), self._callers.who(context, request.by)
            key, why = request.idempotency_key, request.why
            return self._message(self._learner.operations.start_round(asked, by=by, key=key, why=why))

    def WatchRound(self, request: pb.WatchRoundRequest, context: grpc.ServicerContext) -> Iterator[pb.Round]:  # noqa: N802
        with self._answering(context):
            yield from self._changes(request.id, context)

    def ListRounds(self, request: pb.ListRoundsRequest, context: grpc.ServicerContext) -> pb.ListRoundsResponse:  # noqa: N802
        with self._answering(context):
            wanted = _domain(request.domain) if request.domain else ""
            rounds = [s for s in self._learner.book.all() if wanted in ("", s.request.domain)]
            newest = rounds[::-1][: min(request.limit or DEFAULT_LIMIT, MOST_LISTED)]
            return pb.ListRoundsResponse(rounds=[converters.round_message(state, None, None) for state in newest])

    def GetRound(self, request: pb.GetRoundRequest, context: grpc.ServicerContext) -> pb.Round:  # noqa: N802
        with self._answering(context):
            return self._message(read_round(self._root, _round_id(request.id)))

    def CancelRound(self, request: pb.CancelRoundRequest, context: grpc.ServicerContext) -> pb.Round:  # noqa: N802
        with self._answering(context):
            by = self._callers.who(context, request.by)
            return self._message(self._learner.operations.cancel_round(_round_id(request.id), by=by))

    def ListReleases(self, request: pb.ListReleasesRequest, context: grpc.ServicerContext) -> pb.ListReleasesResponse:  # noqa: N802
        with self._answering(context):
            stored, collected = read_plan(self._root), collected_versions(self._root)
            pinned = pins_for_a_list(self._root) or ()  # GetStatus tells of pins that cannot be read
            plan = None if stored is None else stored.plan
            ledger = read_ledger(self._root)
            return pb.ListReleasesResponse(
                releases=[converters.release_message(entry, plan, pinned, collected) for entry in ledger]
            )

    def Promote(self, request: pb.PromoteRequest, context: grpc.ServicerContext) -> pb.Serving:  # noqa: N802
        with self._answering(context):
            order = self._order(context, request)
            plan = self._learner.operations.promote(_version(request.version), order, force=request.force)
            return converters.serving_message(plan, order.domain)

    def Rollback(self, request: pb.RollbackRequest, context: grpc.ServicerContext) -> pb.Serving:  # noqa: N802
        with self._answering(context):
            order = self._order(context, request)
            return converters.serving_message(self._learner.operations.roll_back(order), order.domain)

    def Pin(self, request: pb.PinRequest, context: grpc.ServicerContext) -> pb.PinResponse:  # noqa: N802
        with self._answering(context):
            by = self._callers.who(context, request.by)
            pinned = self._learner.operations.pin(_version(request.version), pinned=request.pinned, by=by)
            return pb.PinResponse(pinned=pinned)

    def GetPrior(self, request: pb.GetPriorRequest, context: grpc.ServicerContext) -> pb.GetPriorResponse:  # noqa: N802
        with self._answering(context):
            return converters.prior_message(read_prior(self._root, _domain(request.domain)))

    def SetTrigger(self, request: pb.SetTriggerRequest, context: grpc.ServicerContext) -> pb.Trigger:  # noqa: N802
        with self._answering(context):
            domain, rule = _domain(request.trigger.domain), converters.trigger_rule(request.trigger)
            rule = self._learner.operations.set_trigger(domain, rule, by=self._callers.who(context, request.by))
            return converters.trigger_message(domain, rule)

    def GetStatus(self, request: pb.GetStatusRequest, context: grpc.ServicerContext) -> pb.LearnerStatus:  # noqa: N802
        with self._answering(context):
            return self._status()

    def _status(self) -> pb.LearnerStatus:
        learner = self._learner
        status = converters.status_message(learner.holder, learner.lease.epoch, learner.started_at, self._root.url)
        if (stored := read_plan(self._root)) is not None:
            status.plan_revision = stored.plan.revision
            status.domains.extend(
                converters.serving_message(stored.plan, name) for name in (None, *stored.plan.domains)
            )
        alive = {beat.gateway for beat in learner.gateways.alive()}
        status.gateways.extend(
            converters.gateway_message(beat, alive=beat.gateway in alive) for beat in learner.gateways.all()
        )
        open_rounds = [state for state in learner.book.all() if not state.phase.is_final]
        started = [state for state in open_rounds if state.phase is not Phase.QUEUED]
        if started:
            status.running.CopyFrom(self._message(started[0]))
        status.queued = len(open_rounds) - len(started)
        book = read_readable(self._root, TRIGGERS, TriggerBook.decode) or TriggerBook()
        status.triggers.extend(converters.trigger_message(domain, rule) for domain, rule in book.usable.items())
        status.troubles.extend(self._learner.triggers.troubles)
        status.troubles.extend(f"{duty}: {why}" for duty, why in sorted(learner.troubles.items()))
        pins_for_a_list(self._root)  # what is noted of them is no older than this answer
        lost = learner.book.damaged
        skipped = [line for line in learner.root.unreadable.lines() if line not in lost.values()]
        status.troubles.extend(f"lost: {why}" for _, why in sorted(lost.items()))
        status.troubles.extend(f"skipped, as it cannot be read: {line}" for line in skipped)
        return status

    def _changes(self, round_id: str, context: grpc.ServicerContext) -> Iterator[pb.Round]:
        sent: pb.Round | None = None
        while context.is_active():
            self._callers.require(context, Role.OPERATOR)  # a token may be taken out meanwhile
            state = read_round(self._root, _round_id(round_id))
            message = self._message(state)
            if message != sent:
                yield message
                sent = message
            if state.phase.is_final:
                return
            time.sleep(_LOOK_EVERY_S)

    def _message(self, state: RoundState) -> pb.Round:
        """With how far the worker is, what the gate said, and what is waited for."""
        found = self._root.read_if_any(round_key(state.id, VERDICT_FILE))
        verdict: Verdict | None = None if found is None else Verdict.decode(found.data, VERDICT_FILE)
        if state.phase is Phase.ROLLOUT and (waiting := self._learner.rollouts.waiting(state.request.domain)):
            state = state.model_copy(update={"reason": waiting})
        return converters.round_message(state, read_progress(self._root, state.id), verdict)

    def _order(self, context: grpc.ServicerContext, request: pb.PromoteRequest | pb.RollbackRequest) -> Order:
        domain = converters.domain_or_default(request.domain)
        return Order(self._callers.who(context, request.by), None if domain is None else _domain(domain), request.why)

    @contextmanager
    def _answering(self, context: grpc.ServicerContext) -> Iterator[None]:
        """Ends the call with the status of whatever error comes out."""
        its_id = request_id(context.invocation_metadata())
        context.set_trailing_metadata(((REQUEST_ID_KEY, its_id),))
        with working_on(request_id=its_id):
            try:
                yield
            except tuple(_STATUS) as error:
                status = next(status for kind, status in _STATUS.items() if isinstance(error, kind))
                context.abort(status, _first_line(error))


def _first_line(error: Exception) -> str:
    return refusal_of(error) if isinstance(error, ValidationError) else " ".join(str(error).split())


def _round_id(text: str) -> str:
    """Raises NoSuchRound where the text is no round's id: a key is made of it."""
    try:
        return _ROUND_ID.validate_python(text)
    except ValidationError:
        raise NoSuchRound(f"{shown(text)} is no round's id: roadshift round list names those that there are") from None


def _domain(text: str) -> str:
    try:
        return _DOMAIN.validate_python(text)
    except ValidationError:
        raise BadValue(f"{shown(text)} is no domain name: such as sim-dusk") from None


def _version(number: int) -> int:
    if number < 1:
        raise BadValue("give a version: roadshift release list shows those that there are")
    return number
