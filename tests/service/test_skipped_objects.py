"""One object that cannot be read stops no duty of the learner: the others are used on, and it is told once."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from adaptation.cli.repair_command import repair_plan
from adaptation.console.views.audit import AuditReader
from adaptation.console.views.frames import FrameShelf
from adaptation.control.learner.learner import Learner
from adaptation.control.learner.triggers import TriggerRule, set_trigger
from adaptation.control.releases.collecting import collect, find_rubbish
from adaptation.control.rollout.gateway_watch import GatewayWatch
from adaptation.control.rollout.rollouts import judge
from adaptation.control.rounds.round_state import Phase, Request, RoundBook, read_round
from adaptation.control.settings import RolloutSettings
from exchange.fleet.erasures import request_erasure
from exchange.fleet.presence import PresenceRow, PresenceRows
from exchange.plan.lease import holding
from exchange.plan.priors import read_prior
from exchange.plan.serving_plan import Candidate
from exchange.storage import StorageRoot
from exchange.storage.locations import CLAIM_NAME, SERVING_PLAN, heartbeat_key, presence_key, release_key
from tests.service.learner_rig import BeatingGateway, beat, healthy, phase_reached, until
from tests.service.spoiled_root import DOMAIN, SPOILS, Spoil, frame_keys, keys, leave_foreign_files, path_of
from tests.service.test_unreadable_frames import Lines, ended, running

each_spoil = pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS.keys())


@pytest.fixture
def told() -> Iterator[list[str]]:
    """What is logged of objects that are skipped."""
    logger, handler = logging.getLogger("exchange.storage.unreadable_objects"), Lines()
    logger.addHandler(handler)
    yield handler.lines
    logger.removeHandler(handler)


def leave_rows(root: StorageRoot) -> None:
    now = datetime.now(UTC)
    held_K = np.full(19, 0.5, np.float32)
    rows = [PresenceRow(now.timestamp() - 80 + i, f"v{i // 8}-d", 1, held_K, held_K / 19, 0.9) for i in range(80)]
    root.write(presence_key(DOMAIN, "gw-a", now, 0), PresenceRows.of(rows).encode())


def skipped(learner: Learner) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(learner.metrics)
    name = "roadshift_unreadable_objects_total"
    return {s.labels["folder"]: s.value for family in registry.collect() for s in family.samples if s.name == name}


def attended(learner: Learner) -> None:
    """Returns once every duty was done twice, and none is in trouble."""
    for _ in range(2):
        for duty in learner._duties:
            duty.next_s = 0.0
        until(lambda: all(duty.next_s > 0 or duty.every_s == 0 for duty in learner._duties), "every duty")
    assert learner.troubles == {}


@each_spoil
def test_every_duty_goes_on(
    root: StorageRoot, source: Path, hollow: Path, tmp_path: Path, told: list[str], spoil: Spoil
) -> None:
    leave_rows(root)
    request_erasure(root, "somebody")
    set_trigger(root, DOMAIN, TriggerRule(interval_s=86_400, drift=True))
    spoiled = keys()
    with BeatingGateway(root), running(root, source, hollow, tmp_path / "run") as learner:
        attended(learner)
        for key in (*spoiled.values(), *frame_keys()):
            spoil(path_of(root, key))
        ended(learner, Phase.PROMOTED)
        attended(learner)
        until(lambda: [each.gateway for each in learner.gateways.alive()] == ["gw-a"], "the gateway's heartbeat")
        until(lambda: read_prior(root, DOMAIN).estimates, "the estimate")
        counts = skipped(learner)
        assert learner.metrics._seen
        assert any(line.startswith(spoiled["erasure"]) or spoiled["erasure"] in line for line in told)
        shelf, audit = FrameShelf(root, learner.left_out), AuditReader(root)
        assert len(shelf.view(DOMAIN).frames) == 12
        assert audit.view().lines
    for what, key in spoiled.items():
        assert counts[key.partition("/")[0]] >= 1, what
        assert path_of(root, key).is_symlink() or path_of(root, key).exists(), "nothing is deleted for it"
    ours = [line for line in told if any(key in line for key in spoiled.values())]
    once = {key: sum(key in line for line in ours) for key in spoiled.values()}
    readers = 3  # the learner, and the two views of this test's own
    assert all(1 <= count <= readers for count in once.values()), once
    assert once[spoiled["heartbeat"]] == once[spoiled["prior"]] == once[spoiled["state"]] == 1


def test_files_of_other_programs_stop_nothing_and_stay(
    root: StorageRoot, source: Path, hollow: Path, tmp_path: Path, told: list[str]
) -> None:
    leave_rows(root)
    set_trigger(root, DOMAIN, TriggerRule(interval_s=86_400, drift=True))
    left = leave_foreign_files(root)
    with BeatingGateway(root), running(root, source, hollow, tmp_path / "run") as learner:
        ended(learner, Phase.PROMOTED)
        attended(learner)
        until(lambda: read_prior(root, DOMAIN).estimates, "the estimate")
        counts = skipped(learner)
    assert all(counts[folder] for folder in ("presence", "priors", "gateways", "audit", "rounds", "regions", "frames"))
    assert len(told) == len(set(told))
    with holding(root, "test") as lease:
        in_a_year = datetime.now(UTC) + timedelta(days=500)
        collect(root, lease, who="test", now=in_a_year)
        assert not any("README" in info.key for each in find_rubbish(root, now=in_a_year) for info in each.objects)
    assert all(path.exists() for path in left), "nothing is deleted because it cannot be read"


@pytest.mark.parametrize("key", ["rounds/backup/state.json", "rounds/fedcba9876543210/state.json"])
def test_a_copy_of_a_round_is_no_round(root: StorageRoot, source: Path, hollow: Path, tmp_path: Path, key: str) -> None:
    with BeatingGateway(root), running(root, source, hollow, tmp_path / "run") as learner:
        round_id = ended(learner, Phase.PROMOTED)
    root.write(key, root.read(f"rounds/{round_id}/state.json").data)
    assert [state.id for state in RoundBook(root).all()] == [round_id]


def test_a_gateway_whose_heartbeat_cannot_be_read_is_waited_for_while_it_beats(root: StorageRoot) -> None:
    beat(root, 1, {2: healthy()})
    watch = GatewayWatch(root)
    root.write(heartbeat_key("gw-x"), b"{}")
    watch.look()
    assert watch.unreadable() == [], "it may lie there for ever"
    root.write(heartbeat_key("gw-x"), b'{"format": 2}')
    beat(root, 1, {2: healthy()})
    watch.look()
    assert [each.gateway for each in watch.alive()] == ["gw-a"]
    assert watch.unreadable() == ["gw-x"]
    said = judge(1, Candidate(version=2, share=0.1), watch.alive(), RolloutSettings(), watch.unreadable())
    assert (said.drop, said.loads) == ("", True), "it waits for as long as a gateway may take to load"
    assert said.wait == "gateways whose heartbeat cannot be read: gw-x"
    root.delete(heartbeat_key("gw-x"))
    watch.look()
    assert watch.unreadable() == []


@each_spoil
def test_a_round_is_published_beside_a_claim_that_cannot_be_read(
    root: StorageRoot, source: Path, hollow: Path, tmp_path: Path, spoil: Spoil
) -> None:
    spoil(path_of(root, release_key(2, CLAIM_NAME)))
    with BeatingGateway(root), running(root, source, hollow, tmp_path / "run") as learner:
        assert read_round(root, ended(learner, Phase.PROMOTED)).version == 4, "the first release is 3"
        assert skipped(learner)["releases"] == 1


@pytest.mark.parametrize("serve", [1, 2])
def test_a_round_waits_for_the_repair_of_a_damaged_plan(
    root: StorageRoot, source: Path, hollow: Path, tmp_path: Path, serve: int
) -> None:
    with running(root, source, hollow, tmp_path / "run") as learner:
        round_id = learner.operations.start_round(Request(domain=DOMAIN, recipe="", seed=7), by="ann").id
        until(phase_reached(root, round_id, Phase.ROLLOUT), "the rollout")
        with learner.lease.writing:
            root.write(SERVING_PLAN, root.read(SERVING_PLAN).data[:-40])
        until(lambda: "run roadshift repair --serve VERSION" in learner.troubles.get("rounds", ""), "the remedy")
        assert read_round(root, round_id).phase is Phase.ROLLOUT
        other = learner.operations.start_round(Request(domain="sim-day", recipe="", seed=7), by="ann").id
        until(lambda: "ServingPlan" in learner.troubles.get("rounds", ""), "the trouble of the other round")
        repair_plan(root, learner.lease, serve, "test")
        with BeatingGateway(root):
            until(phase_reached(root, round_id, Phase.PROMOTED), "the promotion")
        learner.operations.cancel_round(other, by="ann")
    told = [event.text for event in read_round(root, round_id).events]
    assert any("its release is tried again" in text for text in told) is (serve == 1)
