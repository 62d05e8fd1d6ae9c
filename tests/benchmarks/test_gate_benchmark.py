"""The gate's benchmark in miniature: tiny frames, two candidates, and what is made of their outcomes."""

import json
from pathlib import Path

import numpy as np
import pytest

from adaptation.learning.gate.measurements import GateMeasurements, LabelledScores, TargetMeasurements
from benchmarks.gate.__main__ import confusion_table, main, summarize
from benchmarks.gate.outcomes import Outcome
from exchange.label_space import NUM_CLASSES

EVERY = (1 / NUM_CLASSES,) * NUM_CLASSES


def outcome(name: str, true: float, estimated: float, source: float = 0.8) -> Outcome:
    """A candidate beside an incumbent that is right about 70 % of the target's pixels and 80 % of the source's."""

    def scores(before: float, after: float) -> LabelledScores:
        confusions = []
        for share in (before, after):
            confusion = np.diag([round(1000 * share)] * NUM_CLASSES)
            confusions.append(confusion + np.roll(np.eye(NUM_CLASSES, dtype=int), 1, 1) * (1000 - confusion[0, 0]))
        return LabelledScores.of("made up", 1, *confusions)

    target = TargetMeasurements(
        frames=1,
        judge="the incumbent",
        incumbent_share=EVERY,
        candidate_share=EVERY,
        agreement=1.0,
        sure=EVERY,
        kept=EVERY,
        incumbent_atc=0.7,
        candidate_atc=estimated,
        incumbent_believed=0.7,
        candidate_believed=estimated,
        presence=None,
    )
    return Outcome(
        name, name, GateMeasurements(sources=(scores(0.8, source),), sentinel=scores(0.7, true), target=target)
    )


def test_estimates_are_held_against_the_truth() -> None:
    outcomes = [outcome("a", 0.6, 0.65), outcome("b", 0.7, 0.75), outcome("c", 0.8, 0.85)]
    figures = summarize(outcomes)
    assert figures["estimate: correlation"] == pytest.approx(1.0)
    assert figures["estimate: mean error, points"] == pytest.approx(5.0)
    assert [each.truth for each in outcomes] == ["worse", "equal", "better"]
    assert outcome("forgot", 0.9, 0.9, source=0.7).truth == "worse"
    assert confusion_table(outcomes) == [
        {"truly": truth, "accepted": 0, "refused": 1} for truth in ("better", "equal", "worse")
    ]


def test_the_whole_benchmark_on_tiny_frames(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = ["--rows", "64", "--frames", "8", "--held-out", "32", "--incumbent-iterations", "2"]
    words = [*size, "--plans", "half", "few-classes", "--work", str(tmp_path / "work"), "--results", str(tmp_path)]
    main(words)
    measured = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("measured.json")}
    main(words)
    assert measured == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("measured.json")}
    half, few = json.loads(max(tmp_path.glob("gate-*.json")).read_text())["rows"]
    assert (half["truth"], few["truth"], few["gate"]) == ("equal", "worse", "refused")
    assert set(filter(None, half["refused by"].split("; "))) <= {"latency ratio"}
    assert "worst source class kept, sim-day" in few["refused by"]
    assert "The gate against the truth" in capsys.readouterr().out
