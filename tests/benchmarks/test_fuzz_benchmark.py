"""The fuzzer against a gateway and a learner, and what it holds against them."""

import json
import random
from pathlib import Path

import pytest
from google.protobuf.message import DecodeError
from roadshift.v1 import annotation_pb2 as annotation

from benchmarks.fuzz.__main__ import main, rows_of
from benchmarks.fuzz.calls import GATEWAY_FILES, LEARNER_FILES, Outcome, methods_of
from benchmarks.fuzz.messages import KINDS, fuzzed


def test_no_message_meets_a_defect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--messages", "2000", "--work", str(tmp_path / "work"), "--results", str(tmp_path)])
    assert ended.value.code == 0, capsys.readouterr().out
    (written,) = tmp_path.glob("fuzz-*.json")
    report = json.loads(written.read_text())
    assert {row["service"] for row in report["rows"]} == {
        "roadshift.v1.Segmentation", "inference.GRPCInferenceService", "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection", "roadshift.v1.Operations", "roadshift.v1.Annotation",
    }  # fmt: skip
    assert all(row["INVALID_ARGUMENT"] and row["INTERNAL or UNKNOWN"] == 0 for row in report["rows"])
    assert all(row["taken"] for row in report["rows"])


def test_what_is_sent_comes_from_the_seed_alone() -> None:
    methods = methods_of(*GATEWAY_FILES, *LEARNER_FILES)
    generators = [random.Random(7) for _ in range(2)]  # noqa: S311 - not a secret
    drawn = [[fuzzed(kind, each.message_type, rng) for each in methods for kind in KINDS] for rng in generators]
    assert drawn[0] == drawn[1]


def test_absurd_messages_parse_and_many_others_do_not() -> None:
    rng = random.Random(1)  # noqa: S311 - not a secret
    for _ in range(50):
        annotation.AskRequest.FromString(fuzzed("absurd", annotation.AskRequest, rng))
    unparsable = 0
    for _ in range(50):
        try:
            annotation.AskRequest.FromString(fuzzed("noise", annotation.AskRequest, rng))
        except DecodeError:
            unparsable += 1
    assert unparsable > 40


def test_a_defect_is_told_apart_from_a_refusal() -> None:
    outcome = Outcome("some.Service")
    outcome.statuses.update(["OK", "watched", "INVALID_ARGUMENT", "NOT_FOUND", "UNKNOWN", "INTERNAL"])
    assert rows_of([outcome]) == [
        {
            "service": "some.Service",
            "calls": 6,
            "taken": 2,
            "INVALID_ARGUMENT": 1,
            "refused otherwise": 1,
            "INTERNAL or UNKNOWN": 2,
        }
    ]
