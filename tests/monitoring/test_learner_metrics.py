"""What the learner shows to Prometheus, out of what is in its root."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from adaptation.control.learner.metrics import LearnerMetrics, lease_gauge
from adaptation.control.learner.triggers import Triggers
from adaptation.control.rollout.gateway_watch import GatewayWatch
from adaptation.control.rollout.promoted_watch import PromotedWatch
from adaptation.control.rollout.rollouts import Rollouts
from adaptation.control.rounds.left_out import LeftOutFrames
from adaptation.control.rounds.round_state import (
    Phase,
    Progress,
    Request,
    RoundBook,
    RoundState,
    change_round,
    new_round_id,
    progress_key,
    round_key,
    state_key,
)
from adaptation.control.settings import RolloutSettings
from exchange.jobs.verdict import Check, Verdict
from exchange.label_space import CLASS_NAMES
from exchange.plan.lease import Lease
from exchange.plan.priors import LiveEstimate, change_prior
from exchange.plan.serving_plan import Candidate, DomainPlan, PlanContent, change_plan
from exchange.regions.batches import create_batch
from exchange.regions.tasks import Box, Opinion, RegionBatch, RegionTask, new_batch_id
from exchange.storage import StorageRoot, open_root
from tests.clocks import LONG_S
from tests.service.learner_rig import leave_frames

FLAT = (0.1,) * 19
ROAD = CLASS_NAMES[0]


class Shown(NamedTuple):
    root: StorageRoot
    metrics: LearnerMetrics
    registry: CollectorRegistry
    troubles: list[str]

    def value(self, metric: str, /, **labels: str) -> float | None:
        return self.registry.get_sample_value(metric, labels)


@pytest.fixture
def shown(tmp_path: Path) -> Shown:
    root = open_root(str(tmp_path / "root"))
    lease = Lease.acquire(root, "test", lasts_s=LONG_S)
    candidate = Candidate(version=2, share=0.1, shadow_share=0.2)
    plan = PlanContent(DomainPlan(serving=1), {"sim-dusk": DomainPlan(serving=1, candidate=candidate)})
    change_plan(root, lease, lambda _: plan)
    book, gateways, registry = RoundBook(root), GatewayWatch(root), CollectorRegistry()
    troubles: list[str] = []
    metrics = LearnerMetrics(
        root=root,
        book=book,
        gateways=gateways,
        rollouts=Rollouts(root, lease, RolloutSettings(), gateways.alive),
        promoted=PromotedWatch(root, lease, RolloutSettings(), gateways.alive),
        triggers=Triggers(root, book, lambda *_: None),
        duties=lambda: ["rounds", "priors"],
        troubles=lambda: troubles,
        left_out=LeftOutFrames(),
        run_dir=tmp_path,
    )
    registry.register(metrics)
    return Shown(root, metrics, registry, troubles)


def leave_round(root: StorageRoot, phase: Phase, domain: str = "sim-dusk", **changes: object) -> RoundState:
    now = datetime.now(UTC)
    request = Request(domain=domain, recipe="tiny")
    state = RoundState(id=new_round_id(""), request=request, requested_by="ann", created_at=now, changed_at=now)
    state = state.model_copy(update={"phase": phase, **changes})
    root.create(state_key(state.id), state.encode())
    return state


def test_only_rounds_that_end_from_now_on_are_counted(shown: Shown) -> None:
    leave_round(shown.root, Phase.FAILED)
    begun = datetime.now(UTC) - timedelta(seconds=700)
    running = leave_round(shown.root, Phase.ROLLOUT, created_at=begun)
    shown.metrics.look()
    outcomes = ("promoted", "rejected", "failed", "cancelled")
    assert [shown.value("roadshift_rounds_total", outcome=outcome) for outcome in outcomes] == [0, 0, 0, 0]
    change_round(shown.root, running.id, lambda state: state.moved(Phase.PROMOTED, "served"))
    for _ in range(2):
        shown.metrics.look()
    assert shown.value("roadshift_rounds_total", outcome="promoted") == 1
    assert shown.value("roadshift_round_duration_seconds_sum", outcome="promoted") == pytest.approx(700, abs=5)
    assert shown.value("roadshift_rounds_total", outcome="failed") == 0


def test_the_round_that_learns_shows_how_far_it_is(shown: Shown) -> None:
    state = leave_round(shown.root, Phase.LEARNING)
    leave_round(shown.root, Phase.QUEUED, "sim-fog")
    numbers = {"loss": 0.5, "estimated accuracy": 0.9}
    progress = Progress(step="self-training", done=3, total=10, numbers=numbers, paused="slow", worked_s=12.5)
    shown.root.write(progress_key(state.id), progress.encode())
    shown.metrics.look()
    first_s = shown.value("roadshift_round_silent_seconds", domain="sim-dusk")
    shown.metrics.look()
    silent_s = shown.value("roadshift_round_silent_seconds", domain="sim-dusk")
    assert first_s == 0
    assert silent_s is not None
    assert silent_s > 0, "nothing has moved since"
    shown.root.write(progress_key(state.id), progress.model_copy(update={"done": 4, "paused": ""}).encode())
    shown.metrics.look()
    assert shown.value("roadshift_round_silent_seconds", domain="sim-dusk") == 0
    assert shown.value("roadshift_round_paused", domain="sim-dusk") == 0
    assert shown.value("roadshift_round_step_done", domain="sim-dusk", step="self-training") == 4
    assert shown.value("roadshift_round_step_planned", domain="sim-dusk", step="self-training") == 10
    assert shown.value("roadshift_round_worked_seconds", domain="sim-dusk") == 12.5
    assert shown.value("roadshift_round_number", domain="sim-dusk", name="estimated accuracy") == 0.9
    assert shown.value("roadshift_rounds_queued") == 1
    assert shown.value("roadshift_round_phase_seconds", domain="sim-fog", phase="queued") is not None


def test_the_gates_last_numbers_are_shown(shown: Shown) -> None:
    checks = (
        Check.of("agreement with the incumbent", 0.6, "at least", 0.7, "."),
        Check.missing("engine parity", "at least", 1, "."),
    )
    for domain, minutes in (("sim-dusk", 0), ("sim-fog", 5)):
        state = leave_round(
            shown.root, Phase.REJECTED, domain, changed_at=datetime.now(UTC) - timedelta(minutes=minutes)
        )
        shown.root.create(round_key(state.id, "verdict.json"), Verdict(checks=checks, passed=False).encode())
    shown.metrics.look()
    labels = {"domain": "sim-dusk", "check": checks[0].name}
    assert shown.value("roadshift_gate_value", **labels) == 0.6
    assert shown.value("roadshift_gate_threshold", **labels) == 0.7
    assert shown.value("roadshift_gate_passed", **labels) == 0
    missing = {"domain": "sim-dusk", "check": "engine parity"}
    assert shown.value("roadshift_gate_value", **missing) is None
    assert shown.value("roadshift_gate_passed", **missing) == 0
    assert shown.value("roadshift_gate_passed", domain="sim-fog", check="engine parity") is None


def test_plan_prior_and_storage_are_shown(shown: Shown) -> None:
    ratio = (1.0, *(0.0,) * 18)
    made = LiveEstimate(
        estimated_at=datetime.now(UTC), frames=64, effective_frames=40.0, resampled="drives",
        share=FLAT, low=(0.05,) * 19, high=(0.2,) * 19, log_ratio=ratio,
    )  # fmt: skip
    change_prior(shown.root, "sim-dusk", lambda record: record.model_copy(update={"estimates": {1: made, 2: made}}))
    leave_frames(shown.root, "sim-dusk", 12)
    shown.metrics.look()
    shown.metrics.weigh()
    of_road = {"domain": "sim-dusk", "class_name": ROAD}
    shares = [shown.value(f"roadshift_prior_{part}_ratio", **of_road) for part in ("share_low", "share", "share_high")]
    assert shares == [0.05, 0.1, 0.2]
    assert shown.value("roadshift_prior_log_ratio", **of_road) == shown.value("roadshift_prior_log_ratio_limit") == 1
    assert shown.value("roadshift_prior_effective_frames", domain="sim-dusk") == 40
    assert shown.value("roadshift_candidate_share_ratio", domain="sim-dusk", version="2") == 0.1
    assert shown.value("roadshift_candidate_shadow_share_ratio", domain="sim-dusk", version="2") == 0.2
    assert shown.value("roadshift_domain_version", domain="default") == 1
    assert shown.value("roadshift_written_plan_revision") == 1
    assert shown.value("roadshift_stored_frames", domain="sim-dusk") == 12
    stored = shown.value("roadshift_storage_bytes", kind="frames")
    assert stored == sum(info.size_bytes for info in shown.root.list_objects("frames"))
    for folder in ("run_dir", "root"):
        assert shown.value("roadshift_disk_free_bytes", folder=folder)


def test_troubles_are_shown(shown: Shown) -> None:
    shown.troubles.append("priors")
    duties = [shown.value("roadshift_learner_trouble", duty=duty) for duty in ("rounds", "priors")]
    assert duties == [0, 1]
    assert shown.value("roadshift_gateways_alive") == 0
    assert shown.value("roadshift_candidates_total", outcome="promote") == 0
    assert shown.value("roadshift_rollbacks_total") == 0


def test_the_lease_is_held_from_when_it_is_had_until_it_is_lost(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    show = lease_gauge(registry)
    assert registry.get_sample_value("roadshift_lease_held") == 0
    lease = Lease.acquire(open_root(str(tmp_path / "other")), "test", lasts_s=LONG_S)
    show(lease)
    assert registry.get_sample_value("roadshift_lease_held") == 1
    lease.release()
    assert registry.get_sample_value("roadshift_lease_held") == 0


def test_no_round_or_vehicle_is_a_label(shown: Shown) -> None:
    state = leave_round(shown.root, Phase.LEARNING)
    leave_frames(shown.root, "sim-dusk", 12, vehicle="car-17")
    shown.metrics.look()
    shown.metrics.weigh()
    text = generate_latest(shown.registry).decode()
    assert state.id not in text
    assert "car-17" not in text


def test_what_people_were_asked_is_counted(shown: Shown) -> None:
    now = datetime.now(UTC)
    waiting = RegionTask(
        frame_sha256="0" * 64, vehicle="v1", drive="v1-d", size_hw=(64, 96), box=Box(0, 8, 0, 8), runs=(0, 64),
        predicted=0, model_version=1, score=1.0,
    )  # fmt: skip
    labelled = waiting.model_copy(update={"opinions": (Opinion(annotator="ann", label=2, at=now, seconds=3.0),)})
    tasks = (waiting, waiting, labelled)
    batch = RegionBatch(
        id=new_batch_id(now, "abcdef"), domain="sim-dusk", asked_by="ann", asked_at=now, clicks=3, phase="open",
        tasks=tasks,
    )  # fmt: skip
    create_batch(shown.root, batch)
    shown.metrics.weigh()
    states = ("waiting", "leased", "labelled", "skipped")
    assert [shown.value("roadshift_label_tasks", domain="sim-dusk", state=state) for state in states] == [2, 0, 1, 0]
    assert shown.value("roadshift_storage_bytes", kind="regions")
