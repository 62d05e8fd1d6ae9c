"""What no operator or annotator means: bytes that are no message, absurd numbers and texts, and too many rounds."""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from roadshift.v1 import annotation_pb2 as annotation
from roadshift.v1 import operations_pb2 as pb

from adaptation.control.learner.operations import MOST_WAITING
from adaptation.control.rounds.fake_worker import ENDLESS
from adaptation.control.rounds.round_state import RoundBook
from exchange.storage import open_root
from tests.service.learner_rig import LearnerProcess, leave_frames

DOMAIN = "sim-dusk"
LONG = "x" * 1_000_000
CALL_OF = {
    pb.StartRoundRequest: "Operations/StartRound",
    pb.SetTriggerRequest: "Operations/SetTrigger",
    pb.PromoteRequest: "Operations/Promote",
    pb.RollbackRequest: "Operations/Rollback",
    pb.ListRoundsRequest: "Operations/ListRounds",
    pb.GetPriorRequest: "Operations/GetPrior",
    annotation.AskRequest: "Annotation/Ask",
    annotation.LeaseRequest: "Annotation/Lease",
    annotation.SkipRequest: "Annotation/Skip",
    annotation.GetProgressRequest: "Annotation/GetProgress",
}


@pytest.fixture(scope="module")
def learner(hollow: Path, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LearnerProcess]:
    folder = tmp_path_factory.mktemp("absurd")
    url = f"file://{folder}/root"
    leave_frames(open_root(url), DOMAIN, 12)
    with LearnerProcess(url, source, folder, "--release", str(hollow), "--fake") as process:
        yield process


def refused(learner: LearnerProcess, path: str, data: bytes) -> tuple[grpc.StatusCode, str]:
    with grpc.insecure_channel(f"127.0.0.1:{learner.port}") as channel:
        call: Any = channel.unary_unary(f"/roadshift.v1.{path}")
        with pytest.raises(grpc.RpcError) as error:
            call(data, timeout=20)
    return error.value.code(), error.value.details() or ""


def _trigger(**values: float | str) -> pb.SetTriggerRequest:
    return pb.SetTriggerRequest(trigger=pb.Trigger(**{"domain": DOMAIN, "interval_s": 3600, **values}))  # type: ignore[arg-type]


ABSURD: tuple[Message, ...] = (
    *(pb.StartRoundRequest(domain=DOMAIN, minutes=m) for m in (math.inf, -math.inf, math.nan, -1, 1e-320, 10_081)),
    pb.StartRoundRequest(domain=DOMAIN, recipe=LONG),
    pb.StartRoundRequest(domain=LONG),
    pb.StartRoundRequest(domain=DOMAIN, seed=2**31),
    pb.StartRoundRequest(domain=DOMAIN, force=True, why="   "),
    pb.StartRoundRequest(domain=DOMAIN, force=True, why="\u200b"),
    pb.StartRoundRequest(domain=DOMAIN, why="two\nlines"),
    pb.StartRoundRequest(domain=DOMAIN, why=LONG),
    pb.StartRoundRequest(domain=DOMAIN, idempotency_key="\x00"),
    *(_trigger(interval_s=s) for s in (math.inf, math.nan, -1.0, 1e300, 59)),
    *(_trigger(minutes=m) for m in (math.inf, math.nan, 20_000, -1, 1e-320)),
    _trigger(min_new_frames=2**32 - 1),
    _trigger(recipe=LONG),
    _trigger(domain="Not a name"),
    pb.PromoteRequest(version=1, force=True, why="   "),
    pb.PromoteRequest(version=1, force=True, why="a\x1b[31m"),
    pb.PromoteRequest(version=1, domain=LONG),
    pb.RollbackRequest(why=LONG),
    pb.ListRoundsRequest(domain="a\nb"),
    pb.GetPriorRequest(domain=LONG),
    *(annotation.AskRequest(domain=DOMAIN, minutes=m) for m in (math.inf, math.nan, -1, 1e-320, 1e300, 10_081)),
    annotation.AskRequest(domain=DOMAIN, clicks=3, minutes=-1),
    annotation.AskRequest(domain=DOMAIN, clicks=2**32 - 1),
    *(annotation.AskRequest(domain=DOMAIN, clicks=3, double_share=share) for share in (math.inf, math.nan, 2)),
    *(annotation.LeaseRequest(annotator=name) for name in ("", "   ", "a\nb", LONG)),
    annotation.LeaseRequest(annotator="anna", domain=LONG),
    annotation.SkipRequest(task="sim-dusk.20260101T000000Z-0123ab.0", annotator="anna", why="\x00"),
    annotation.GetProgressRequest(domain="a b"),
)


@pytest.mark.parametrize("message", ABSURD, ids=lambda message: f"{type(message).__name__} {str(message)[:60]!r}")
def test_absurd_values_are_refused_in_a_line(learner: LearnerProcess, message: Message) -> None:
    status, details = refused(learner, CALL_OF[type(message)], message.SerializeToString())
    assert status is grpc.StatusCode.INVALID_ARGUMENT, details
    assert len(details) < 300
    assert "\n" not in details


def test_bytes_that_are_no_message_are_the_callers_mistake(learner: LearnerProcess) -> None:
    for path in sorted(CALL_OF.values()):
        status, details = refused(learner, path, b"\x0a\xff\xff\xff\xff\x0fjunk")
        assert status is grpc.StatusCode.INVALID_ARGUMENT, path
        assert "no message of this call" in details
    assert "Traceback" not in learner.said()
    assert learner.said().count("could not be parsed") == 1
    assert learner.stub().GetStatus(pb.GetStatusRequest()).holder


def test_no_more_rounds_wait_than_may_however_many_ask_at_once(learner: LearnerProcess) -> None:
    stub = learner.stub()

    def start(number: int) -> str:
        try:
            stub.StartRound(pb.StartRoundRequest(domain=DOMAIN, seed=ENDLESS, by=f"caller {number}"))
        except grpc.RpcError as error:
            return str(error.code().name)
        return "OK"

    with ThreadPoolExecutor(16) as callers:
        ended = list(callers.map(start, range(48)))
    assert set(ended) == {"OK", "RESOURCE_EXHAUSTED"}
    assert ended.count("OK") == MOST_WAITING
    assert sum(not state.phase.is_final for state in RoundBook(learner.root()).all()) == MOST_WAITING
