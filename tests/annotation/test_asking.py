"""Orders for regions: by clicks, by people's minutes, and after a promoted round once."""

from datetime import UTC, datetime, timedelta

import pytest

from adaptation.control.labeling.after_rounds import AsksAfterRounds
from adaptation.control.labeling.asking import SECONDS_A_CLICK, ask_for_regions, seconds_a_click
from adaptation.control.labeling.desk import LabelDesk
from adaptation.control.rounds.round_state import Phase, Request, RoundBook, RoundState, state_key
from exchange.net.request_values import BadValue
from exchange.regions.batches import TooManyBatches, read_batches
from exchange.regions.tasks import MOST_BATCHES
from exchange.registry.audit import read_audit
from exchange.storage import StorageRoot
from tests.annotation.asked_regions import ROAD, Clock, asked_frame, leave_batch


def test_minutes_become_clicks_at_peoples_own_pace(root: StorageRoot, clock: Clock) -> None:
    assert ask_for_regions(root, "sim-dusk", by="chief", minutes=10).clicks == 600 / SECONDS_A_CLICK
    leave_batch(root, [asked_frame(0)], 24)
    desk = LabelDesk(root, clock=clock)
    while (task := desk.lease("anna")) is not None:
        clock.forward(3)
        desk.submit(task.id, "anna", ROAD)
    assert seconds_a_click(root, "sim-dusk") == pytest.approx(3)
    assert ask_for_regions(root, "sim-dusk", by="chief", minutes=10).clicks == 200
    told = read_audit(root)
    assert [entry.what for entry in told] == ["ask-labels"] * 2
    assert {**told[-1].details, "batch": ""} == {"batch": "", "clicks": 200, "double_share": 0.2, "minutes": 10}
    assert told[-1].details["batch"] in {batch.id for batch in read_batches(root, "sim-dusk")}


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"clicks": 3, "minutes": 1},
        {"clicks": 100_000},
        {"clicks": 3, "double_share": 1.5},
        {"minutes": -1},
        {"minutes": float("inf")},
        {"minutes": float("nan"), "clicks": 3},
        {"minutes": 1e300},
        {"minutes": -1, "clicks": 3},
        {"minutes": 10081},
        {"clicks": 3, "double_share": float("nan")},
    ],
)
def test_an_order_that_cannot_be_is_refused(root: StorageRoot, wrong: dict[str, float]) -> None:
    with pytest.raises(BadValue):
        ask_for_regions(root, "sim-dusk", by="chief", **wrong)  # type: ignore[arg-type]


def test_batches_are_bounded(root: StorageRoot) -> None:
    for _ in range(MOST_BATCHES):
        ask_for_regions(root, "sim-dusk", by="chief", clicks=1)
    with pytest.raises(TooManyBatches, match="labels drop"):
        ask_for_regions(root, "sim-dusk", by="chief", clicks=1)


def ended_round(root: StorageRoot, number: int, phase: Phase, ago: timedelta) -> None:
    at = datetime.now(UTC) - ago
    state = RoundState(
        id=f"{number:016x}",
        request=Request(domain="sim-dusk", recipe="cpu_quick"),
        requested_by="chief",
        created_at=at,
        changed_at=at,
        phase=phase,
    )
    root.write(state_key(state.id), state.encode())


def test_a_promoted_round_is_followed_by_one_order_whoever_looks(root: StorageRoot) -> None:
    ended_round(root, 1, Phase.PROMOTED, timedelta(minutes=1))
    ended_round(root, 2, Phase.REJECTED, timedelta(minutes=1))
    ended_round(root, 3, Phase.PROMOTED, timedelta(days=1))
    AsksAfterRounds(root, RoundBook(root), 0).tick()
    assert read_batches(root, "sim-dusk") == []
    for _ in range(2):
        asks = AsksAfterRounds(root, RoundBook(root), 50)
        asks.tick()
        asks.tick()
    (batch,) = read_batches(root, "sim-dusk")
    assert (batch.clicks, batch.asked_by, batch.phase) == (50, "learner", "picking")
    assert len(read_audit(root)) == 1
