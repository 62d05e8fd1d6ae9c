"""Between the wire and what the learner means; nothing else knows both."""

from collections.abc import Iterable
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp
from roadshift.v1 import operations_pb2 as pb

from adaptation.control.learner.triggers import DEFAULT_MIN_FRAMES, TriggerRule
from adaptation.control.rounds.round_state import Request, RoundState
from exchange.fleet.gateways import Heartbeat
from exchange.jobs.progress import Progress
from exchange.jobs.verdict import Verdict
from exchange.net.request_values import checked_minutes
from exchange.plan.plan_changes import DEFAULT
from exchange.plan.priors import PriorRecord
from exchange.plan.serving_plan import DomainPlan, ServingPlan
from exchange.registry import LedgerEntry


def domain_or_default(domain: str) -> str | None:
    return None if domain in ("", DEFAULT) else domain


def round_request(message: pb.StartRoundRequest) -> Request:
    """Raises BadValue, ValidationError."""
    return Request(
        domain=message.domain,
        recipe=message.recipe,
        minutes=checked_minutes(message.minutes),
        seed=message.seed,
        force=message.force,
    )


def trigger_rule(message: pb.Trigger) -> TriggerRule:
    """Raises BadValue, ValidationError."""
    return TriggerRule(
        interval_s=message.interval_s or None,
        drift=message.drift,
        min_new_frames=message.min_new_frames or DEFAULT_MIN_FRAMES,
        recipe=message.recipe or None,
        minutes=checked_minutes(message.minutes),
    )


def round_message(state: RoundState, progress: Progress | None, verdict: Verdict | None) -> pb.Round:
    return pb.Round(
        id=state.id,
        domain=state.request.domain,
        recipe=state.request.recipe,
        minutes=state.request.minutes or 0,
        seed=state.request.seed,
        trigger=state.request.trigger,
        requested_by=state.requested_by,
        phase=f"ROUND_PHASE_{state.phase.name}",
        created_at=_timestamp(state.created_at),
        changed_at=_timestamp(state.changed_at),
        start_version=state.start_version or 0,
        version=state.version or 0,
        reason=state.reason,
        frames=state.frames,
        progress=None if progress is None else _progress(progress),
        events=[pb.RoundEvent(at=_timestamp(event.at), text=event.text) for event in state.events],
        checks=_checks(verdict),
    )


def _progress(progress: Progress) -> pb.Progress:
    return pb.Progress(
        step=progress.step,
        done=progress.done,
        total=progress.total,
        numbers=progress.numbers,
        paused=progress.paused,
    )


def _checks(verdict: Verdict | None) -> Iterable[pb.GateCheck]:
    return (
        pb.GateCheck(
            name=check.name,
            value=check.value,
            threshold=check.threshold,
            at_least=check.bound == "at least",
            passed=check.passed,
            explanation=check.explanation,
        )
        for check in (verdict.checks if verdict else ())
    )


def serving_message(plan: ServingPlan, domain: str | None) -> pb.Serving:
    served: DomainPlan = plan.of(domain or DEFAULT)
    candidate = served.candidate
    return pb.Serving(
        domain=domain or DEFAULT,
        serving=served.serving,
        previous=served.previous or 0,
        candidate=candidate.version if candidate else 0,
        candidate_share=candidate.share if candidate else 0,
        candidate_shadow_share=candidate.shadow_share if candidate else 0,
        prior_id=served.prior_id,
        plan_revision=plan.revision,
    )


def release_message(
    entry: LedgerEntry, plan: ServingPlan | None, pinned: Iterable[int], collected: Iterable[int]
) -> pb.Release:
    domains = {} if plan is None else {DEFAULT: plan.default, **plan.domains}
    version = entry.version
    return pb.Release(
        version=version,
        published_at=_timestamp(entry.published_at),
        published_by=entry.published_by,
        origin=entry.origin,
        round_id=entry.round_id or "",
        serves=[name for name, served in domains.items() if served.serving == version],
        previous_of=[name for name, served in domains.items() if served.previous == version],
        candidate_of=[n for n, served in domains.items() if served.candidate and served.candidate.version == version],
        pinned=version in pinned,
        stored=version not in collected,
    )


def prior_message(record: PriorRecord) -> pb.GetPriorResponse:
    return pb.GetPriorResponse(
        domain=record.domain,
        frozen=record.frozen,
        estimates=[
            pb.PriorEstimate(
                version=version,
                estimated_at=_timestamp(made.estimated_at),
                frames=made.frames,
                effective_frames=made.effective_frames,
                share=made.share,
                low=made.low,
                high=made.high,
                log_ratio=made.log_ratio,
            )
            for version, made in record.estimates.items()
        ],
    )


def trigger_message(domain: str, rule: TriggerRule) -> pb.Trigger:
    return pb.Trigger(
        domain=domain,
        interval_s=rule.interval_s or 0,
        drift=rule.drift,
        min_new_frames=rule.min_new_frames,
        recipe=rule.recipe or "",
        minutes=rule.minutes or 0,
    )


def gateway_message(beat: Heartbeat, *, alive: bool) -> pb.GatewayState:
    return pb.GatewayState(
        name=beat.gateway,
        written_at=_timestamp(beat.written_at),
        alive=alive,
        plan_revision=beat.plan_revision,
        loaded=[version for version, health in beat.versions.items() if health.loaded],
    )


def status_message(holder: str, epoch: int, started_at: datetime, root: str) -> pb.LearnerStatus:
    """What does not change; the rest is the caller's to add."""
    return pb.LearnerStatus(holder=holder, lease_epoch=epoch, started_at=_timestamp(started_at), root=root)


def _timestamp(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp
