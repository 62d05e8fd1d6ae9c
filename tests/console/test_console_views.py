"""What the pages show, from a root and a learner that is not running."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from adaptation.console.look import Look, Seen
from adaptation.console.views.audit import AuditReader
from adaptation.console.views.frames import FrameFilter, FrameShelf
from adaptation.console.views.now import NowReader
from adaptation.console.views.prior import BINS, newest_estimated_domain, prior_view
from adaptation.console.views.reading import Reading
from adaptation.console.views.releases import (
    by_descent,
    effect_of_promotion,
    effect_of_reset,
    effect_of_rollback,
    releases_view,
)
from adaptation.console.views.rounds import curves_of, effect_of_start, pictures_of, round_detail, rounds_view
from adaptation.console.views.troubles import learner_troubles
from adaptation.control.learner.learner import Learner
from adaptation.control.learner.operations import Operations
from adaptation.control.prior.follow import LivePrior
from adaptation.control.rounds.round_state import Phase, Request, progress_key, round_key
from adaptation.control.settings import LearnerSettings
from adaptation.learning.rounds.report_page import _frame_row
from adaptation.learning.rounds.report_pictures import Pictures
from exchange.erasing import erase_stored
from exchange.fleet.erasures import request_erasure
from exchange.jobs.progress import CurvePoint, Progress
from exchange.jobs.verdict import Check, Verdict
from exchange.label_space import TRAIN_ID
from exchange.plan.lease import Lease
from exchange.plan.plan_changes import PlanRefused, apply_change, promoted, with_candidate
from exchange.plan.serving_plan import DomainPlan, ServingPlan, read_plan
from exchange.registry import publish
from exchange.registry.audit import AuditEntry, audited, record
from exchange.storage import StorageRoot, StorageUnavailable, open_root
from exchange.storage.locations import PINS, TRIGGERS
from tests.clocks import LONG_S
from tests.console.deployment import STARTER, leave_captured, leave_presence
from tests.service.learner_rig import beat, healthy


@pytest.fixture
def root(tmp_path: Path) -> StorageRoot:
    return open_root(f"file://{tmp_path}/root")


@pytest.fixture
def learner(root: StorageRoot, labelled: Path, tmp_path: Path) -> Learner:
    """One that has begun: the starter is version 1."""
    settings = LearnerSettings(
        root=root.url, sources=({"folder": labelled},), release=STARTER, run_dir=tmp_path / "run", fake=True
    )
    learner = Learner(root, Lease.acquire(root, "test", lasts_s=LONG_S), settings, "test")
    learner.begin()
    return learner


@pytest.fixture
def reading(root: StorageRoot, learner: Learner) -> Reading:
    return Reading(root, learner)


def plan_of(root: StorageRoot) -> ServingPlan:
    stored = read_plan(root)
    assert stored is not None
    return stored.plan


def serve(learner: Learner, version: int, domain: str | None) -> None:
    apply_change(learner.root, learner.lease, lambda content: promoted(content, version, domain=domain))


def test_a_new_root_shows_the_default_and_no_gateway(reading: Reading) -> None:
    view = NowReader(reading).view()
    assert [(domain.name, domain.serving, domain.confidence) for domain in view.domains] == [("default", 1, None)]
    assert (view.gateways, view.running, view.troubles) == ((), None, ())


def test_domains_with_their_confidence_rate_and_p99(reading: Reading) -> None:
    leave_presence(reading.root, "sim-dusk", minutes=20)
    beat(reading.root, 1, {1: healthy(p99_s=0.25), 2: healthy(loaded=False, trouble="no room in /dev/shm")})
    gateways = reading.learner.gateways
    gateways.look()
    beat(reading.root, 1, {1: healthy(p99_s=0.25), 2: healthy(loaded=False, trouble="no room in /dev/shm")})
    gateways.look()
    view = NowReader(reading).view()
    dusk = view.domains[1]
    assert (dusk.name, dusk.serving, dusk.follows_default, dusk.p99_s, dusk.not_known) == (
        "sim-dusk",
        1,
        True,
        0.25,
        "",
    )
    default = view.domains[0]
    assert (default.p99_s, default.confidence) == (None, None), "they are of frames of sim-dusk"
    assert default.not_known == "version 1 answered no frame here in the last 30 minutes"
    assert dusk.confidence == pytest.approx(0.93, abs=0.03)
    assert sum(value is not None for value in dusk.confidence_curve) > 30
    (gateway,) = view.gateways
    assert (gateway.name, gateway.alive, gateway.is_current) == ("gw-a", True, True)
    assert view.troubles == ("gateway gw-a: version 2: no room in /dev/shm",)


def test_a_p99_of_several_domains_is_no_ones(reading: Reading) -> None:
    for domain in ("sim-day", "sim-dusk"):
        leave_presence(reading.root, domain, minutes=5)
    beat(reading.root, 1, {1: healthy(p99_s=0.25)})
    reading.learner.gateways.look()
    _, day, dusk = NowReader(reading).view().domains
    assert (day.p99_s, dusk.p99_s) == (None, None)
    assert day.not_known == "p99: version 1 answered sim-dusk of late, too, and is timed as one, see below"


def test_the_same_state_is_the_same_view(reading: Reading) -> None:
    beat(reading.root, 1, {1: healthy()})
    reading.learner.gateways.look()
    reader = NowReader(reading)
    assert reader.view() == reader.view()


def test_what_runs_and_what_does_not_work(reading: Reading) -> None:
    operations: Operations = reading.learner.operations
    running = operations.start_round(Request(domain="sim-dusk", recipe="cpu_quick"), by="ann")
    operations.start_round(Request(domain="sim-day", recipe="cpu_quick"), by="ann")
    troubles = {"heartbeats": "the root is away", "lease": "it could not be renewed", "priors": "the root is away"}
    reading.learner.troubles.update(troubles)
    assert learner_troubles(reading.learner) == (
        "lease: it could not be renewed",
        "heartbeats, priors: the root is away",
    )
    view = NowReader(reading).view()
    assert (view.running, view.queued) == (None, 2)
    detail = round_detail(reading, running.id)
    assert (detail.line.phase, detail.gate_passed, detail.has_report) == (Phase.QUEUED, None, False)


def test_rounds_with_curves_gate_and_pictures(reading: Reading) -> None:
    leave_captured(reading.root, "sim-dusk", 3)
    state = reading.learner.operations.start_round(Request(domain="sim-dusk", recipe="cpu_quick", minutes=5), by="ann")
    progress = Progress(
        step="self-training",
        done=2,
        total=10,
        curve=(
            CurvePoint(step="rectifying", done=1, numbers={"loss": 3.0}),
            CurvePoint(step="self-training", done=1, numbers={"loss": 2.0, "share": 0.5}),
            CurvePoint(step="self-training", done=2, numbers={"loss": 1.0}),
        ),
    )
    reading.root.write(progress_key(state.id), progress.encode())
    checks = (Check.of("a", 0.5, "at least", 1.0, "less than before"), Check.missing("b", "at most", 2.0, "no labels"))
    reading.root.write(round_key(state.id, "verdict.json"), Verdict(checks=checks, passed=False).encode())
    reading.root.write(round_key(state.id, "report.html"), b"<p>3 frames</p>")
    detail = round_detail(reading, state.id)
    assert [curve.step for curve in detail.curves] == ["rectifying", "self-training"]
    assert detail.curves[1].series == (("loss", ((1, 2.0), (2, 1.0))), ("share", ((1, 0.5),)))
    assert curves_of(Progress(step="", done=0, total=0)) == ()
    assert [(row.value, row.limit, row.passed) for row in detail.gate] == [
        ("0.5", "at least 1", False),
        ("not measured", "at most 2", False),
    ]
    assert (detail.gate_passed, detail.has_report, detail.minutes) == (False, True, 5)
    view = rounds_view(reading)
    assert [line.id for line in view.rounds] == [state.id]
    assert view.recipes[0] == "cpu_quick"


def test_a_round_is_told_before_it_is_asked_for(reading: Reading) -> None:
    leave_captured(reading.root, "sim-dusk", 12)
    leave_presence(reading.root, "sim-dusk", minutes=1)
    asked = Request(domain="sim-dusk", recipe="cpu_quick", minutes=5)
    effect = effect_of_start(rounds_view(reading), asked)
    assert effect.startswith("sim-dusk: the learner's machine learns by the recipe cpu_quick, for 5 minutes, from")
    assert "if the gate lets it pass" in effect
    assert "waits" not in effect
    reading.learner.operations.start_round(asked, by="ann")
    forced = effect_of_start(rounds_view(reading), asked.model_copy(update={"force": True}))
    assert "whatever the gate says" in forced
    assert forced.endswith("It waits for 1 round before it.")
    few = effect_of_start(rounds_view(reading), Request(domain="sim-fog", recipe="cpu_quick"))
    assert few.startswith("sim-fog: there are 0 captured frames; a round needs 8, and fails unless more come first.")


def test_pictures_are_found_in_the_page_that_rounds_write() -> None:
    url = "data:image/jpeg;base64,"
    rows = [Pictures("one", f"{url}a", f"{url}b", f"{url}c", None), Pictures("two", *(f"{url}{i}" for i in "defg"))]
    found = pictures_of("".join(map(_frame_row, rows)).encode())
    assert [(each.name, each["before"], each["after"], each["truth"]) for each in found] == [
        ("one", f"{url}b", f"{url}c", None),
        ("two", f"{url}e", f"{url}f", f"{url}g"),
    ]
    assert pictures_of(b"<p>none</p>") == ()


def test_releases_below_what_they_were_learned_from(reading: Reading) -> None:
    assert list(by_descent({1: None, 2: 1, 3: None, 4: 2, 5: 1, 6: 9})) == [
        (1, 0), (2, 1), (4, 2), (5, 1), (3, 0), (6, 0),
    ]  # fmt: skip
    publish(reading.root, STARTER, by="ann", origin="added", parent=1)
    serve(reading.learner, 2, "sim-dusk")
    view = releases_view(reading)
    assert [(node.version, node.depth, [role.text for role in node.roles]) for node in view.releases] == [
        (1, 0, ["serves by default", "sim-dusk rolls back to it"]),
        (2, 1, ["serves sim-dusk"]),
    ]
    assert [(d.name, bool(d.not_back), bool(d.not_reset)) for d in view.domains] == [
        ("default", True, True),
        ("sim-dusk", False, False),
    ]
    assert [(d.name, d.serving, d.previous, d.anchor) for d in view.domains] == [
        ("default", 1, None, 1),
        ("sim-dusk", 2, 1, 1),
    ]
    assert dict(view.releases[1].facts)["parent, anchor"] == "1, 1"


def test_pins_and_triggers_that_cannot_be_read_are_told_and_hide_nothing(reading: Reading) -> None:
    for key in (PINS, TRIGGERS):
        reading.root.write(key, b"{")
    view = releases_view(reading)
    assert view.pins_are_unknown
    assert [(node.version, node.pinned) for node in view.releases] == [(1, None)]
    assert dict(view.releases[0].facts)["kept"] == "unknown: the pins cannot be read"
    now = NowReader(reading).view()
    assert [domain.name for domain in now.domains] == ["default"]
    for kind in ("Pins", "TriggerBook"):
        assert any(f"is no {kind}" in trouble for trouble in now.troubles)
    reading.root.delete(PINS)
    assert not releases_view(reading).pins_are_unknown


def test_an_order_says_what_it_changes(reading: Reading) -> None:
    for _ in range(2):
        publish(reading.root, STARTER, by="ann", origin="added", parent=1)
    serve(reading.learner, 2, None)
    serve(reading.learner, 3, "sim-dusk")
    plan = plan_of(reading.root)
    effect = effect_of_rollback(plan, "sim-dusk", 2)
    assert effect == "sim-dusk: version 2 is served again in place of 3, on 2 gateways"
    assert effect_of_rollback(plan, "default", 1) == "default: version 1 is served again in place of 2, on 1 gateway"
    anchored = effect_of_reset(plan, "sim-dusk", 1, 0)
    assert anchored == "sim-dusk: version 1 is served again in place of 3, on no gateway yet"
    forced = effect_of_promotion(plan, 1, "sim-dusk", 2, force=True)
    assert forced == "sim-dusk: version 1 is served in place of 3, on 2 gateways, at once and untried"
    assert "version 1 is tried beside version 3" in effect_of_promotion(plan, 1, "sim-dusk", 2, force=False)
    with pytest.raises(PlanRefused, match="no previous release"):
        effect_of_rollback(plan.model_copy(update={"default": DomainPlan(serving=1)}), "default", 1)


def test_an_order_for_the_default_names_all_that_follow_it(reading: Reading) -> None:
    publish(reading.root, STARTER, by="ann", origin="added", parent=1)
    apply_change(
        reading.root,
        reading.learner.lease,
        lambda content: with_candidate(content, 2, domain="sim-dusk", share=0.1, shadow_share=0),
    )
    serve(reading.learner, 2, "sim-day")
    effect = effect_of_promotion(plan_of(reading.root), 2, "default", 2, force=True)
    assert effect == "default: version 2 is served in place of 1, on 2 gateways, at once and untried"


def test_a_prior_with_its_interval_and_over_time(reading: Reading) -> None:
    assert newest_estimated_domain(reading.root) == "default"
    empty = prior_view(reading, "sim-dusk")
    assert (empty.classes, empty.version, empty.estimated_at) == ((), 1, None)
    leave_presence(reading.root, "sim-dusk", shift=0.4)
    LivePrior(reading.root, reading.learner.lease).update()
    assert newest_estimated_domain(reading.root) == "sim-dusk"
    view = prior_view(Reading(reading.root, reading.learner), "sim-dusk")
    person = view.classes[TRAIN_ID["person"]]
    assert person.low <= person.estimated <= person.high
    assert person.estimated == pytest.approx(0.7, abs=0.1)
    assert len(view.times) == BINS
    shares = [share for share in view.seen[TRAIN_ID["person"]] if share is not None]
    assert np.mean(shares) == pytest.approx(0.7, abs=0.1)
    reading.learner.operations.freeze_prior("sim-dusk", frozen=True, by="ann")
    assert prior_view(reading, "sim-dusk").frozen
    reading.learner.operations.reset_prior("sim-dusk", by="ann")
    assert prior_view(reading, "sim-dusk").classes == ()
    assert [line.what for line in AuditReader(reading.root).view().lines][:2] == ["reset prior", "freeze prior"]


def test_frames_are_the_newest_and_pass_filters(root: StorageRoot) -> None:
    leave_captured(root, "sim-dusk", 5)
    leave_captured(root, "sim-dusk", 3, number=5)
    shelf = FrameShelf(root)
    view = shelf.view("sim-dusk")
    assert [card.key for card in view.frames] == [f"sim-dusk-{i}" for i in (7, 6, 5, 4, 3, 2, 1, 0)]
    assert (view.domains, view.stored) == (("sim-dusk",), 8)
    shown = {train_id for train_id, _ in view.frames[0].classes}
    missing = next(k for k in range(19) if k not in shown)
    assert FrameFilter(train_id=view.frames[0].classes[0][0]).passes(view.frames[0])
    assert not FrameFilter(train_id=missing).passes(view.frames[0])
    assert not FrameFilter(most_confidence=0.1).passes(view.frames[0])
    assert shelf.view("").domain == shelf.view("sim-fog").domain == "sim-dusk"
    assert shelf.frame("rounds/x/state.json", "sim-dusk-1") is None, "only shards are read"


def test_an_erased_vehicle_is_shown_no_more(root: StorageRoot) -> None:
    leave_captured(root, "sim-dusk", 6)
    shelf = FrameShelf(root)
    gone = next(card for card in shelf.view("sim-dusk").frames if card.vehicle == "vehicle1")
    request_erasure(root, "vehicle1")
    erase_stored(root, "vehicle1")
    assert {card.vehicle for card in shelf.view("sim-dusk").frames} == {"vehicle0", "vehicle2"}
    assert shelf.frame(gone.shard, gone.key) is None


def test_the_audit_newest_first_with_what_failed(root: StorageRoot) -> None:
    reader = AuditReader(root)
    record(root, AuditEntry(who="ann", what="promote", version=2, at=datetime.now(UTC) - timedelta(minutes=5)))
    assert [line.what for line in reader.view().lines] == ["promote"]
    with pytest.raises(OSError, match="full"), audited(root, AuditEntry(who="ben", what="force-gate", forced=True)):
        raise OSError("the disk is full")
    found = [(line.who, line.what, line.failed, line.why) for line in reader.view().lines]
    told = {"recipe": "tiny", "minutes": None, "force": False, "releases": [2, 3], "parity_frames": 12}
    record(root, AuditEntry(who="ann", what="rollback", details=told))
    line = reader.view().lines[0]
    assert line.domain == "default", "what changes what is served, and names no domain"
    assert line.details == (
        ("recipe", "tiny"),
        ("minutes", "none"),
        ("force", "no"),
        ("releases", "2, 3"),
        ("parity frames", "12"),
    )
    assert found == [
        ("ben", "force gate", True, "the disk is full"),
        ("ben", "force gate", False, ""),
        ("ann", "promote", False, ""),
    ]


async def test_a_look_keeps_what_it_saw_and_says_what_hinders() -> None:
    away = False
    made = 0

    def make() -> int:
        nonlocal made
        if away:
            raise StorageUnavailable("the root is away")
        made += 1
        return made

    with ThreadPoolExecutor(1) as reader:
        look: Look[int] = Look(make, reader, every_s=0)
        assert (await look.now()).view == 1
        away = True
        seen = await look.now()
        assert (seen.view, seen.trouble) == (1, "the root is away")
        fresh: Look[int] = Look(make, reader, every_s=60)
        assert (await fresh.now()) == Seen(trouble="the root is away")
        away = False
        assert (await look.now()).trouble == ""
