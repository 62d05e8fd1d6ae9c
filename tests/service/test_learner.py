"""A learner's process: what it begins with, rounds from captured frames to their ends, and who may run it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from roadshift.v1 import operations_pb2 as pb
from roadshift.v1 import operations_pb2_grpc as pb_grpc

from adaptation.control.rounds.fake_worker import COLLAPSED, CRASHES, ENDLESS, REFUSED
from adaptation.control.rounds.round_state import progress_key, read_round, round_key
from exchange.plan.serving_plan import read_plan
from exchange.registry import read_ledger
from exchange.registry.audit import read_audit
from exchange.storage import StorageRoot, open_root
from exchange.storage.locations import PINS, TRIGGERS
from tests.service.learner_rig import BeatingGateway, LearnerProcess, leave_frames, phase_reached, until

FAST = ("--shadow-s", "0", "--bake-s", "0", "--fewest-frames", "1", "--fake")


@pytest.fixture(scope="module")
def shared(hollow: Path, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LearnerProcess]:
    """One learner for all tests that leave it running."""
    folder = tmp_path_factory.mktemp("shared")
    options = ("--release", str(hollow), *FAST)
    url = f"file://{folder}/root"
    for domain in ("sim-dusk", "sim-fog", "sim-rain"):
        leave_frames(open_root(url), domain, 12)
    with LearnerProcess(url, source, folder, *options) as learner:
        yield learner


@pytest.fixture
def stub(shared: LearnerProcess) -> pb_grpc.OperationsStub:
    return shared.stub()


def status_of(call: object, request: object) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as refused:
        call(request)  # type: ignore[operator]
    return refused.value.code()


def test_a_round_from_captured_frames_to_promotion(shared: LearnerProcess, stub: pb_grpc.OperationsStub) -> None:
    root = shared.root()
    started = stub.StartRound(pb.StartRoundRequest(domain="sim-dusk", seed=7))
    with BeatingGateway(root):
        seen = list(stub.WatchRound(pb.WatchRoundRequest(id=started.id), timeout=60))
    assert seen[-1].phase == pb.ROUND_PHASE_PROMOTED
    assert (seen[-1].start_version, seen[-1].frames, seen[-1].version) == (1, 12, 2)
    assert [check.passed for check in seen[-1].checks] == [True]
    stored = read_plan(root)
    assert stored is not None
    dusk = stored.plan.of("sim-dusk")
    assert (dusk.serving, dusk.previous, dusk.candidate) == (2, 1, None)
    assert stored.plan.default.serving == 1
    assert [(entry.origin, entry.round_id) for entry in read_ledger(root)] == [
        ("starter", "starter"),
        ("round", started.id),
    ]
    assert json.loads(root.read(round_key(started.id, "report.json")).data) == {"frames": 12}
    told = [entry.what for entry in read_audit(root)]
    assert told == ["promote", "start-round", "try", "promote"]
    served = stub.Rollback(pb.RollbackRequest(domain="sim-dusk", why="to see it", by="ann"))
    assert (served.serving, served.previous) == (1, 2)
    assert stub.Promote(pb.PromoteRequest(version=2, domain="sim-dusk", force=True, why="again")).serving == 2
    listed = stub.ListReleases(pb.ListReleasesRequest()).releases
    assert [(list(release.serves), release.stored) for release in listed] == [(["default"], True), (["sim-dusk"], True)]


def test_the_same_key_is_the_same_round(stub: pb_grpc.OperationsStub) -> None:
    request = pb.StartRoundRequest(domain="sim-dusk", seed=ENDLESS, idempotency_key="a key")
    first, second = stub.StartRound(request), stub.StartRound(request)
    assert first.id == second.id
    request.seed = 1
    assert status_of(stub.StartRound, request) is grpc.StatusCode.ALREADY_EXISTS
    stub.CancelRound(pb.CancelRoundRequest(id=first.id))


def test_one_round_at_a_time_and_any_may_be_cancelled(shared: LearnerProcess, stub: pb_grpc.OperationsStub) -> None:
    running = stub.StartRound(pb.StartRoundRequest(domain="sim-dusk", seed=ENDLESS))
    waiting = stub.StartRound(pb.StartRoundRequest(domain="sim-dusk", seed=1))
    root = shared.root()
    until(phase_reached(root, running.id, "learning"), "learning")
    until(lambda: root.read_if_any(progress_key(running.id)), "progress")
    assert stub.GetRound(pb.GetRoundRequest(id=waiting.id)).phase == pb.ROUND_PHASE_QUEUED
    status = stub.GetStatus(pb.GetStatusRequest())
    assert (status.running.id, status.queued, list(status.troubles)) == (running.id, 1, [])
    assert status.running.progress.step == "self-training"
    cancelled = stub.CancelRound(pb.CancelRoundRequest(id=waiting.id, by="ann"))
    assert (cancelled.phase, cancelled.reason) == (pb.ROUND_PHASE_CANCELLED, "cancelled by ann")
    stub.CancelRound(pb.CancelRoundRequest(id=running.id, by="ann"))
    until(phase_reached(root, running.id, "cancelled"), "the cancellation")
    assert shared.workers() == []
    until(lambda: not (shared.run_dir / "rounds" / running.id).exists(), "the removal of the job's folder")


@pytest.mark.parametrize(("seed", "collapsed"), [(REFUSED, False), (COLLAPSED, True)])
def test_what_the_gate_refuses_is_rejected(
    shared: LearnerProcess, stub: pb_grpc.OperationsStub, seed: int, collapsed: bool
) -> None:
    before = len(read_ledger(shared.root()))
    started = stub.StartRound(pb.StartRoundRequest(domain="sim-fog", seed=seed))
    until(phase_reached(shared.root(), started.id, "rejected"), "the rejection")
    state = read_round(shared.root(), started.id)
    assert "the gate refused it: " in state.reason
    assert state.collapsed is collapsed
    assert len(read_ledger(shared.root())) == before


def test_after_a_collapse_the_next_round_starts_from_the_anchor(
    shared: LearnerProcess, stub: pb_grpc.OperationsStub
) -> None:
    stub.Promote(pb.PromoteRequest(version=2, domain="sim-fog", force=True, why="an adapted one"))
    started = stub.StartRound(pb.StartRoundRequest(domain="sim-fog", seed=REFUSED))
    until(phase_reached(shared.root(), started.id, "rejected"), "the rejection")
    state = read_round(shared.root(), started.id)
    assert (state.start_version, state.from_anchor) == (1, True)


def test_a_forced_round_passes_the_gate_and_the_audit_says_who(
    shared: LearnerProcess, stub: pb_grpc.OperationsStub
) -> None:
    request = pb.StartRoundRequest(domain="sim-rain", seed=REFUSED, force=True, by="ann")
    assert status_of(stub.StartRound, request) is grpc.StatusCode.INVALID_ARGUMENT
    request.why = "to see it"
    started = stub.StartRound(request)
    until(phase_reached(shared.root(), started.id, "rollout"), "the rollout")
    forced = [entry for entry in read_audit(shared.root()) if entry.round_id == started.id]
    assert [(entry.who, entry.what, entry.forced) for entry in forced] == [
        ("ann", "start-round", False),
        ("ann", "force-gate", True),
    ]
    stub.CancelRound(pb.CancelRoundRequest(id=started.id, by="ann"))
    until(phase_reached(shared.root(), started.id, "cancelled"), "the cancellation")
    assert stub.CancelRound(pb.CancelRoundRequest(id=started.id, by="bob")).phase == pb.ROUND_PHASE_CANCELLED
    told = [entry for entry in read_audit(shared.root()) if entry.round_id == started.id]
    assert [entry.who for entry in told if entry.what == "cancel-round"] == ["ann"], "once"
    stored = read_plan(shared.root())
    assert stored is not None
    assert stored.plan.of("sim-rain").candidate is None


def test_a_candidate_in_trouble_is_dropped_and_its_round_says_why(
    shared: LearnerProcess, stub: pb_grpc.OperationsStub
) -> None:
    with BeatingGateway(shared.root(), errors=50):
        started = stub.StartRound(pb.StartRoundRequest(domain="sim-rain"))
        until(phase_reached(shared.root(), started.id, "rejected"), "the rejection")
    assert "50 errors in 100 frames" in read_round(shared.root(), started.id).reason


def test_a_worker_that_keeps_dying_fails_its_round(shared: LearnerProcess, stub: pb_grpc.OperationsStub) -> None:
    started = stub.StartRound(pb.StartRoundRequest(domain="sim-rain", seed=CRASHES))
    until(phase_reached(shared.root(), started.id, "failed"), "the failure")
    assert "ended 3 times with status -9" in read_round(shared.root(), started.id).reason


def test_a_domain_without_frames_fails_its_round(shared: LearnerProcess, stub: pb_grpc.OperationsStub) -> None:
    started = stub.StartRound(pb.StartRoundRequest(domain="nowhere"))
    until(phase_reached(shared.root(), started.id, "failed"), "the failure")
    assert "only 0 captured frames in domain nowhere" in read_round(shared.root(), started.id).reason


def test_wrong_questions_get_a_status(stub: pb_grpc.OperationsStub) -> None:
    invalid, absent = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
    assert status_of(stub.StartRound, pb.StartRoundRequest(domain="No Domain")) is invalid
    assert status_of(stub.StartRound, pb.StartRoundRequest(domain="a", recipe="none")) is invalid
    assert status_of(stub.SetTrigger, pb.SetTriggerRequest(trigger=pb.Trigger(domain="a", interval_s=1))) is invalid
    assert status_of(stub.GetRound, pb.GetRoundRequest(id="../lease")) is absent
    assert status_of(stub.Promote, pb.PromoteRequest(version=99)) is grpc.StatusCode.FAILED_PRECONDITION
    assert status_of(stub.Pin, pb.PinRequest(version=99, pinned=True)) is absent
    assert status_of(stub.Rollback, pb.RollbackRequest(domain="sim-day")) is grpc.StatusCode.FAILED_PRECONDITION


def test_triggers_pins_and_priors_are_kept(stub: pb_grpc.OperationsStub) -> None:
    trigger = pb.Trigger(domain="sim-day", interval_s=3600, drift=True, min_new_frames=10)
    assert stub.SetTrigger(pb.SetTriggerRequest(trigger=trigger)) == trigger
    assert list(stub.GetStatus(pb.GetStatusRequest()).triggers) == [trigger]
    assert list(stub.Pin(pb.PinRequest(version=1, pinned=True)).pinned) == [1]
    assert list(stub.GetPrior(pb.GetPriorRequest(domain="sim-day")).estimates) == []


def test_a_second_learner_refuses_and_one_that_stands_by_takes_over(
    root: StorageRoot, url: str, source: Path, hollow: Path, tmp_path: Path
) -> None:
    with LearnerProcess(url, source, tmp_path / "a", "--release", str(hollow), *FAST) as first:
        with LearnerProcess(url, source, tmp_path / "b", *FAST, wait=False) as second:
            assert second.wait_for_end() == 1
            assert "stop it first; one learner for a root" in second.said()
        started = first.stub().StartRound(pb.StartRoundRequest(domain="sim-dusk", seed=ENDLESS))
        until(phase_reached(root, started.id, "learning"), "learning")
        (worker,) = until(first.workers, "the worker")
        with LearnerProcess(url, source, tmp_path / "c", *FAST, "--standby", wait=False) as standby:
            until(lambda: "standing by" in standby.said(), "standing by")
            first.kill()
            until(lambda: not Path(f"/proc/{worker}").exists(), "the worker's end with its learner", 5)
            standby.wait_until_ready(30)
            until(standby.workers, "the round going on")
            assert standby.stub().GetStatus(pb.GetStatusRequest()).lease_epoch == 2
            os.kill(standby.workers()[0], signal.SIGKILL)
            until(lambda: read_round(root, started.id).crashes == 1, "the crash being noticed")
            until(standby.workers, "the worker's return")
            assert standby.terminate() == 0
            assert standby.workers() == []
    assert read_round(root, started.id).phase == "learning"


def test_a_learner_outlives_a_root_that_is_away_for_longer_than_its_lease(
    source: Path, hollow: Path, tmp_path: Path
) -> None:
    folder, elsewhere = tmp_path / "root", tmp_path / "unmounted"
    root = open_root(f"file://{folder}")
    leave_frames(root, "sim-dusk", 12)
    with LearnerProcess(root.url, source, tmp_path / "a", "--release", str(hollow), *FAST) as learner:
        started = learner.stub().StartRound(pb.StartRoundRequest(domain="sim-dusk", seed=ENDLESS))
        (worker,) = until(learner.workers, "the worker")
        folder.rename(elsewhere)
        until(lambda: "could not be renewed for 1 s" in learner.said(), "the lapse")
        assert not Path(f"/proc/{worker}").exists() or learner.workers() == []
        elsewhere.rename(folder)
        until(lambda: "this learner goes on" in learner.said(), "the renewal")
        until(learner.workers, "the round going on")
        assert learner.stub().GetStatus(pb.GetStatusRequest()).lease_epoch == 1
        assert learner.stub().CancelRound(pb.CancelRoundRequest(id=started.id)).id == started.id
        until(phase_reached(root, started.id, "cancelled"), "the cancellation")


def test_a_learner_that_stood_still_for_too_long_leaves_the_root_to_the_next(
    root: StorageRoot, url: str, source: Path, hollow: Path, tmp_path: Path
) -> None:
    with LearnerProcess(url, source, tmp_path / "a", "--release", str(hollow), *FAST) as first:
        first.process.send_signal(signal.SIGSTOP)
        with LearnerProcess(url, source, tmp_path / "b", *FAST) as second:
            first.process.send_signal(signal.SIGCONT)
            assert first.wait_for_end() == 1
            assert "somebody else took the lease" in first.said()
            assert second.stub().GetStatus(pb.GetStatusRequest()).lease_epoch == 2


def test_roles(root: StorageRoot, url: str, source: Path, hollow: Path, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("operator open-sesame\nvehicle beep\n")
    options = ("--release", str(hollow), "--token-file", str(tokens), *FAST)
    with LearnerProcess(url, source, tmp_path / "a", *options) as learner:
        stub = learner.stub()
        for token, status in ((None, "UNAUTHENTICATED"), ("beep", "PERMISSION_DENIED")):
            metadata = [] if token is None else [("authorization", f"Bearer {token}")]
            with pytest.raises(grpc.RpcError) as refused:
                stub.GetStatus(pb.GetStatusRequest(), metadata=metadata)
            assert refused.value.code().name == status
        stub.GetStatus(pb.GetStatusRequest(), metadata=[("authorization", "Bearer open-sesame")])


def test_a_learner_that_cannot_start_says_why(url: str, source: Path, tmp_path: Path) -> None:
    with LearnerProcess(url, source, tmp_path / "a", *FAST, wait=False) as learner:
        assert learner.wait_for_end() == 1
        assert "has no release yet: give the first one by --release" in learner.said()


@pytest.mark.parametrize("damaged", [b'{"format": 2}', b"{"])
def test_pins_and_triggers_that_cannot_be_read_are_told_and_stop_no_list(
    shared: LearnerProcess, stub: pb_grpc.OperationsStub, damaged: bytes
) -> None:
    root = shared.root()
    for key in (PINS, TRIGGERS):
        root.write(key, damaged)
    try:
        listed = stub.ListReleases(pb.ListReleasesRequest()).releases
        assert [(release.version, release.pinned) for release in listed][:1] == [(1, False)]
        status = stub.GetStatus(pb.GetStatusRequest())
        assert list(status.triggers) == []
        for kind in ("Pins", "TriggerBook"):
            assert any(f"is no {kind}" in trouble for trouble in status.troubles)
        shown = subprocess.run(
            [sys.executable, "-c", "import cli; cli.main()", "trigger", "list", "--server", f"127.0.0.1:{shared.port}"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (shown.returncode, "triggers.json is no TriggerBook" in shown.stderr) == (1, True)
        order = pb.SetTriggerRequest(trigger=pb.Trigger(domain="sim-fog", drift=True, min_new_frames=9))
        too_new = damaged.endswith(b"2}")
        refused = grpc.StatusCode.FAILED_PRECONDITION if too_new else grpc.StatusCode.DATA_LOSS
        assert status_of(stub.SetTrigger, order) is refused
    finally:
        for key in (PINS, TRIGGERS):
            root.delete(key)
    status = stub.GetStatus(pb.GetStatusRequest())
    assert not any(trouble.startswith("skipped") for trouble in status.troubles)
