"""When rounds start by themselves."""

import json
import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from pydantic import ValidationError

from adaptation.control.learner.triggers import TriggerRule, Triggers, read_triggers, set_trigger
from adaptation.control.rounds.captured_snapshot import captured_since
from adaptation.control.rounds.domain_sight import DomainSights, drift
from adaptation.control.rounds.round_start import reason_for_anchor
from adaptation.control.rounds.round_state import Phase, Request, RoundBook, RoundState, Sight, new_round_id, state_key
from exchange.fleet.presence import PresenceRow, PresenceRows
from exchange.net.request_values import BadValue
from exchange.plan.lease import Lease
from exchange.plan.serving_plan import DomainPlan, PlanContent, change_plan
from exchange.storage import StorageRoot
from exchange.storage.locations import TRIGGERS, presence_key
from tests.clocks import LONG_S
from tests.service.learner_rig import leave_frames

NONE = (0.0,) * 19
MOVED = (0.6, *(0.0,) * 18)


def sight(log_ratio: tuple[float, ...] = NONE, confidence: float = 0.9, version: int = 1) -> Sight:
    return Sight(version=version, log_ratio=log_ratio, mean_confidence=confidence, frames=100)


def leave_rows(root: StorageRoot, domain: str, confidence: float) -> None:
    now = datetime.now(UTC)
    probability_K = np.full(19, 1 / 19, np.float32)
    rows = [PresenceRow(now.timestamp() - i, "v-d", 1, probability_K, probability_K, confidence) for i in range(80)]
    root.write(presence_key(domain, "gw-a", now, 0), PresenceRows.of(rows).encode())


def ended(phase: Phase, **changes: object) -> RoundState:
    now = datetime.now(UTC)
    state = RoundState(
        id=new_round_id(""),
        request=Request(domain="sim-dusk", recipe="tiny"),
        requested_by="ann",
        created_at=now,
        changed_at=now,
        phase=phase,
    )
    return state.model_copy(update=changes)


@pytest.fixture
def planned(root: StorageRoot) -> StorageRoot:
    """A root with a plan, and with 12 captured frames in sim-dusk."""
    lease = Lease.acquire(root, "test", lasts_s=LONG_S)
    change_plan(root, lease, lambda plan: PlanContent(DomainPlan(serving=1), {}))
    return root


class Started(list[tuple[str, str, str]]):
    def __call__(self, domain: str, rule: TriggerRule, trigger: str, why: str) -> None:
        self.append((domain, trigger, why))


def test_what_counts_as_drift() -> None:
    assert drift(sight(), None, None) == ""
    assert drift(sight(MOVED), None, None) == "the prior has moved: a class's log ratio by 0.60"
    assert drift(sight(confidence=0.8), None, None) == ""
    assert drift(sight(confidence=0.8), None, 0.9) == "the confidence has fallen from 0.900 to 0.800"
    assert drift(sight(confidence=0.87), None, 0.9) == ""


def test_after_a_round_drift_is_told_against_what_it_saw() -> None:
    assert drift(sight(MOVED, 0.8), sight(MOVED, 0.8), 0.95) == ""
    assert drift(sight(NONE, 0.8), sight(MOVED, 0.8), 0.95) != ""
    assert drift(sight(MOVED, 0.7), sight(MOVED, 0.8), 0.95) != ""
    assert drift(sight(MOVED, 0.8, version=2), sight(MOVED, 0.8, version=1), 0.8) != "", "another version's sight"


def test_confidence_that_fell_in_one_domain_starts_a_round_there(planned: StorageRoot) -> None:
    rule = TriggerRule(drift=True, min_new_frames=12)
    set_trigger(planned, "sim-dusk", rule)
    set_trigger(planned, "sim-day", rule)
    leave_rows(planned, "sim-day", 0.9)
    leave_rows(planned, "sim-dusk", 0.7)
    started = Started()
    Triggers(planned, RoundBook(planned), started).tick()
    assert [(domain, trigger) for domain, trigger, _ in started] == [("sim-dusk", "drift")]
    assert read_triggers(planned).surest == {1: pytest.approx(0.9, abs=1e-3)}


@pytest.mark.parametrize(("min_new_frames", "fires"), [(12, True), (13, False)])
def test_an_interval_needs_new_frames(planned: StorageRoot, min_new_frames: int, fires: bool) -> None:
    set_trigger(planned, "sim-dusk", TriggerRule(interval_s=60, min_new_frames=min_new_frames))
    old = datetime.now(UTC) - timedelta(seconds=61)
    state = ended(Phase.REJECTED, created_at=old)
    planned.create(state_key(state.id), state.encode())
    started = Started()
    Triggers(planned, RoundBook(planned), started).tick()
    assert bool(started) is fires
    assert captured_since(planned, "sim-dusk", None) == 12
    assert captured_since(planned, "sim-dusk", datetime.now(UTC)) == 0


def test_a_domain_whose_round_is_under_way_starts_no_other(planned: StorageRoot) -> None:
    set_trigger(planned, "sim-dusk", TriggerRule(interval_s=60, min_new_frames=1))
    state = ended(Phase.ROLLOUT, created_at=datetime.now(UTC) - timedelta(hours=1))
    planned.create(state_key(state.id), state.encode())
    started = Started()
    Triggers(planned, RoundBook(planned), started).tick()
    assert started == []


def test_a_rule_that_fires_by_nothing_is_forgotten(root: StorageRoot) -> None:
    set_trigger(root, "sim-dusk", TriggerRule(drift=True))
    assert set(read_triggers(root).rules) == {"sim-dusk"}
    assert set_trigger(root, "sim-dusk", TriggerRule()).rules == {}


def test_too_few_rows_are_no_sight(root: StorageRoot) -> None:
    leave_rows(root, "sim-dusk", 0.9)
    sights = DomainSights(root)
    assert sights.of("sim-dusk", 2) is None
    found = sights.of("sim-dusk", 1)
    assert found is not None
    assert (found.frames, found.log_ratio) == (80, NONE)


def test_rejections_and_collapse_lead_back_to_the_anchor_once() -> None:
    rejected = ended(Phase.REJECTED)
    assert reason_for_anchor([rejected] * 2) == ""
    assert "3 rounds in a row were rejected" in reason_for_anchor([rejected] * 3)
    assert reason_for_anchor([rejected, rejected, ended(Phase.PROMOTED), rejected]) == ""
    assert "collapsed" in reason_for_anchor([ended(Phase.REJECTED, collapsed=True)])
    assert reason_for_anchor([rejected] * 3 + [ended(Phase.REJECTED, from_anchor=True)]) == ""
    assert reason_for_anchor([rejected, ended(Phase.FAILED), rejected, ended(Phase.CANCELLED), rejected]) != ""


ABSURD = (
    ({"interval_s": 60, "min_new_frames": 1, "minutes": 20_000}, "minutes: 20000 is too large"),
    ({"interval_s": 1e300, "min_new_frames": 1}, "interval_s: 1e+300 is too large"),
    ({"interval_s": 60, "min_new_frames": 10**12}, "min_new_frames: 1000000000000 is too large"),
)


@pytest.mark.parametrize(("rule", "why"), ABSURD)
def test_a_stored_trigger_that_cannot_be_is_named_and_the_others_go_on(
    planned: StorageRoot, rule: dict[str, object], why: str
) -> None:
    set_trigger(planned, "sim-dusk", TriggerRule(interval_s=60, min_new_frames=12))
    stored = json.loads(planned.read(TRIGGERS).data)
    stored["rules"]["sim-day"] = rule
    stored["set_at"]["sim-dusk"] = "2026-01-01T00:00:00Z"
    planned.write(TRIGGERS, json.dumps(stored).encode())
    started = Started()
    triggers = Triggers(planned, RoundBook(planned), started)
    triggers.tick()
    triggers.tick()
    assert {domain for domain, _, _ in started} == {"sim-dusk"}
    (trouble,) = triggers.troubles
    assert trouble.startswith(f"the trigger of sim-day starts no rounds: {why}")
    assert json.loads(planned.read(TRIGGERS).data)["rules"]["sim-day"] == rule, "nobody has taken it away"
    set_trigger(planned, "sim-day", TriggerRule(interval_s=3600))
    triggers.tick()
    assert triggers.troubles == ()


def test_a_trigger_whose_round_is_refused_is_named_and_the_others_go_on(planned: StorageRoot) -> None:
    leave_frames(planned, "sim-day", 12)
    for domain in ("sim-day", "sim-dusk"):
        set_trigger(planned, domain, TriggerRule(interval_s=60, min_new_frames=12))
    stored = json.loads(planned.read(TRIGGERS).data)
    del stored["set_at"]
    planned.write(TRIGGERS, json.dumps(stored).encode())
    started: list[str] = []

    def start(domain: str, rule: TriggerRule, trigger: str, why: str) -> None:
        if domain == "sim-day":
            raise BadValue("there is no recipe 'gone'")
        started.append(domain)

    triggers = Triggers(planned, RoundBook(planned), start)
    triggers.tick()
    assert started == ["sim-dusk"]
    assert triggers.troubles[0].startswith("the trigger of sim-day starts no rounds: there is no recipe 'gone'")


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 1e300, -1.0, 10_081.0])
def test_a_trigger_that_cannot_be_is_not_made(value: float) -> None:
    with pytest.raises(ValidationError):
        TriggerRule(minutes=value)
    if value != 10_081:
        with pytest.raises(ValidationError):
            TriggerRule(interval_s=value)
