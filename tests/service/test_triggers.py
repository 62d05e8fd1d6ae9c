"""When rounds start by themselves."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from adaptation.service.captured_snapshot import captured_since
from adaptation.service.domain_sight import DomainSights, drift
from adaptation.service.round_start import reason_for_anchor
from adaptation.service.round_state import Phase, Request, RoundBook, RoundState, Sight, new_round_id, state_key
from adaptation.service.triggers import TriggerRule, Triggers, read_triggers, set_trigger
from exchange.lease import Lease
from exchange.locations import presence_key
from exchange.presence import PresenceRow, PresenceRows
from exchange.serving_plan import DomainPlan, PlanContent, change_plan
from exchange.storage import StorageRoot

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
    lease = Lease.acquire(root, "test")
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
