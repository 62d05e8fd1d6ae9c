"""One round, whose learner is killed between any two writes: each next learner goes on, and nothing is done twice."""

import signal
from pathlib import Path

import grpc
import pytest
from roadshift.v1 import operations_pb2 as pb

from adaptation.control.rounds.round_state import read_round
from exchange.plan.plan_changes import named_versions
from exchange.plan.serving_plan import read_plan
from exchange.registry import read_ledger, read_published_manifest
from exchange.storage import StorageRoot
from tests.service.learner_rig import BeatingGateway, LearnerProcess, phase_reached, until

OPTIONS = ("--shadow-s", "0", "--bake-s", "0", "--fewest-frames", "1", "--fake")
BEFORE_THE_ROUND = ("learner.after-first-release", "learner.after-first-plan")
ASKING = ("round.before-queued", "round.after-queued")
DURING = (
    "round.before-snapshot",
    "snapshot.after-shard",
    "snapshot.after-list",
    "round.after-worker",
    "round.after-report",
    "round.after-verdict",
    "publish.after-claim",
    "publish.after-manifest",
    "round.after-publish",
    "round.after-candidate",
    "rollout.audited-try",
    "rollout.after-promote",
    "round.before-promoted",
)
REQUEST = pb.StartRoundRequest(domain="sim-dusk", idempotency_key="the one")


def check_nothing_is_broken(root: StorageRoot) -> None:
    """The plan names complete releases only, and no round is published twice."""
    entries = read_ledger(root)
    rounds = [entry.round_id for entry in entries]
    assert len(set(rounds)) == len(rounds)
    stored = read_plan(root)
    for version in named_versions(stored.plan) if stored else ():
        assert version in {entry.version for entry in entries}
        read_published_manifest(root, version)


@pytest.mark.timeout(900)
def test_a_round_outlives_its_learners(root: StorageRoot, url: str, source: Path, hollow: Path, tmp_path: Path) -> None:
    def killed(failpoint: str, *, asks: bool = False) -> None:
        options = (*OPTIONS, "--release", str(hollow))
        with LearnerProcess(url, source, tmp_path / "a", *options, failpoint=failpoint, wait=asks) as learner:
            if asks:
                with_the_caller_seeing_it(learner)
            assert learner.wait_for_end() == -signal.SIGKILL, learner.said()
        check_nothing_is_broken(root)

    def with_the_caller_seeing_it(learner: LearnerProcess) -> None:
        with pytest.raises(grpc.RpcError) as lost:
            learner.stub().StartRound(REQUEST, timeout=30)
        assert lost.value.code() is grpc.StatusCode.UNAVAILABLE

    for failpoint in BEFORE_THE_ROUND:
        killed(failpoint)
    for failpoint in ASKING:
        killed(failpoint, asks=True)
    with BeatingGateway(root):
        for failpoint in DURING:
            killed(failpoint)
        with LearnerProcess(url, source, tmp_path / "a", *OPTIONS) as learner:
            round_id = learner.stub().StartRound(REQUEST).id
            until(phase_reached(root, round_id, "promoted"), "promotion")
            assert learner.terminate() == 0
    check_nothing_is_broken(root)
    stored, state = read_plan(root), read_round(root, round_id)
    assert stored is not None
    assert stored.plan.of("sim-dusk").serving == state.version == read_ledger(root)[-1].version
    assert [entry.round_id for entry in read_ledger(root)] == ["starter", round_id]
    assert (state.frames, state.crashes) == (12, 0)
