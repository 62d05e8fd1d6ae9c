"""Callers that show nothing, send nothing or watch do not keep operators from giving orders."""

from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
from roadshift.v1 import operations_pb2 as pb

from adaptation.control.api.call_access import MOST_WATCHERS
from adaptation.control.rounds.fake_worker import ENDLESS
from exchange.storage import StorageRoot
from tests.service.learner_rig import LearnerProcess
from tests.stalled_calls import StalledCalls, message_head

FAST = ("--shadow-s", "0", "--bake-s", "0", "--fewest-frames", "1", "--fake")
METHODS = ("Operations/GetStatus", "Operations/Rollback", "Operations/WatchRound", "Annotation/Lease")
OPERATOR = [("authorization", "Bearer open-sesame")]


@pytest.mark.parametrize("with_tokens", [True, False])
def test_an_order_is_answered_while_calls_without_a_message_and_watches_are_open(
    root: StorageRoot, url: str, source: Path, hollow: Path, tmp_path: Path, *, with_tokens: bool
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("operator open-sesame\n")
    shown = ("--token-file", str(tokens)) if with_tokens else ()
    with LearnerProcess(url, source, tmp_path / "a", "--release", str(hollow), *shown, *FAST) as learner:
        stub = learner.stub()
        started = stub.StartRound(pb.StartRoundRequest(domain="sim-dusk", seed=ENDLESS), metadata=OPERATOR)
        with ExitStack() as stack:
            for method in METHODS:
                calls = StalledCalls(learner.port, f"/roadshift.v1.{method}", 200)
                stack.callback(calls.close)
                calls.wait_until_heard()
            watches = [stub.WatchRound(pb.WatchRoundRequest(id=started.id), metadata=OPERATOR) for _ in range(32)]
            for watch in watches:
                stack.callback(watch.cancel)
            seen = [first_of(watch) for watch in watches]
            assert seen.count("OK") == MOST_WATCHERS
            assert set(seen) == {"OK", "RESOURCE_EXHAUSTED"}
            with pytest.raises(grpc.RpcError, match="no previous release") as refused:
                stub.Rollback(pb.RollbackRequest(why="it drifts"), metadata=OPERATOR)
            assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert stub.Pin(pb.PinRequest(version=1, pinned=True), metadata=OPERATOR).pinned == [1]
            assert stub.GetStatus(pb.GetStatusRequest(), metadata=OPERATOR).running.id == started.id
        assert learner.terminate() == 0


def test_calls_that_stall_are_cut(root: StorageRoot, url: str, source: Path, hollow: Path, tmp_path: Path) -> None:
    with LearnerProcess(url, source, tmp_path / "a", "--release", str(hollow), *FAST) as learner:
        begun = message_head(4_000_000) + bytes(1000)
        with StalledCalls(learner.port, "/roadshift.v1.Annotation/Submit", 40, begun=begun) as calls:
            calls.wait_for_ends()
        assert learner.terminate() == 0
        assert "Traceback" not in learner.said()


def test_a_watch_that_is_given_up_makes_room_for_another(
    root: StorageRoot, url: str, source: Path, hollow: Path, tmp_path: Path
) -> None:
    with LearnerProcess(url, source, tmp_path / "a", "--release", str(hollow), *FAST) as learner:
        stub = learner.stub()
        started = stub.StartRound(pb.StartRoundRequest(domain="sim-dusk", seed=ENDLESS))
        for _ in range(3 * MOST_WATCHERS):
            while first_of(watch := stub.WatchRound(pb.WatchRoundRequest(id=started.id))) != "OK":
                pass
            watch.cancel()


def first_of(watch: "grpc.CallIterator[pb.Round]") -> str:
    """How the watch begins: with a round, or with its end."""
    try:
        next(watch)
    except grpc.RpcError as error:
        return error.code().name
    return "OK"
