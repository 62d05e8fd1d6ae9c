"""The judgement by itself: every number that is too bad, or missing, is a refusal with a sentence."""

from typing import Any

import numpy as np
import pytest

from adaptation.learning.gate.judge import judge
from adaptation.learning.gate.measurements import (
    EngineMeasurements,
    GateMeasurements,
    LabelledScores,
    PresenceShares,
    TargetMeasurements,
)
from exchange.jobs.limits import GateLimits
from exchange.label_space import NUM_CLASSES

EVERY = (1 / NUM_CLASSES,) * NUM_CLASSES
TARGET = TargetMeasurements(
    frames=64,
    judge="the incumbent",
    incumbent_share=EVERY,
    candidate_share=EVERY,
    agreement=0.9,
    sure=(0.03,) * NUM_CLASSES,
    kept=(0.0295,) * NUM_CLASSES,
    incumbent_atc=0.80,
    candidate_atc=0.84,
    incumbent_believed=0.82,
    candidate_believed=0.81,
    presence=PresenceShares(
        low=(0.2,) * NUM_CLASSES,
        high=(0.6,) * NUM_CLASSES,
        incumbent=(0.4,) * NUM_CLASSES,
        candidate=(0.45,) * NUM_CLASSES,
    ),
)
ENGINE = EngineMeasurements(
    parity_agreement=1.0,
    parity_worst_class="pole",
    parity_worst_iou=0.999,
    parity_passes=True,
    least_agreement=0.9999,
    candidate_s=0.1,
    incumbent_s=0.1,
)


def scores(right: int, *, wrong_of: dict[int, int] | None = None) -> LabelledScores:
    """1000 pixels of each class to an incumbent with 800 right; the candidate has `right`, or as told by class."""

    def confusion(hits: dict[int, int]) -> np.ndarray:
        counts = np.zeros((NUM_CLASSES, NUM_CLASSES), np.int64)
        for k in range(NUM_CLASSES):
            counts[k, k] = hits[k]
            counts[k, (k + 1) % NUM_CLASSES] += 1000 - hits[k]
        return counts

    ours = dict.fromkeys(range(NUM_CLASSES), right) | (wrong_of or {})
    return LabelledScores.of("day", 10, confusion(dict.fromkeys(range(NUM_CLASSES), 800)), confusion(ours))


GOOD = GateMeasurements(sources=(scores(800),), target=TARGET, engine=ENGINE)


def with_target(**changes: Any) -> GateMeasurements:
    return GOOD.model_copy(update={"target": TARGET.model_copy(update=changes)})


def one(value: float, others: float, k: int = 10) -> tuple[float, ...]:
    return tuple(value if index == k else others for index in range(NUM_CLASSES))


def test_a_candidate_without_fault_is_promoted() -> None:
    verdict = judge(GOOD, GateLimits())
    assert verdict.passed
    assert verdict.reasons() == ()
    assert all(len(check.explanation.split()) > 8 and check.value is not None for check in verdict.checks)


@pytest.mark.parametrize(
    ("measurements", "refusing", "told"),
    [
        (GOOD.model_copy(update={"sources": (scores(800), scores(770))}), "source mIoU lost, day", "62.6 %"),
        (
            GOOD.model_copy(update={"sources": (scores(810, wrong_of={10: 300}),)}),
            "worst source class kept, day",
            "Sky went from",
        ),
        (GOOD.model_copy(update={"sentinel": scores(700)}), "labelled target mIoU lost", "19,000 pixels"),
        (with_target(candidate_atc=0.7), "estimated accuracy lost", "70.0 %"),
        (with_target(agreement=0.5), "agreement with the incumbent", "50.0 %"),
        (with_target(kept=(0.028,) * NUM_CLASSES), "sure pixels kept", "57.0 %"),
        (with_target(kept=one(0.01, 0.03)), "worst sure class kept", "surely Sky"),
        (with_target(candidate_share=one(0.9, 0.1 / 18)), "effective classes kept", "over 19.0"),
        (
            with_target(presence=TARGET.presence.model_copy(update={"candidate": one(-0.1, 0.4)})),  # type: ignore[union-attr]
            "worst class below the prior",
            "Sky is in",
        ),
        (
            with_target(presence=TARGET.presence.model_copy(update={"candidate": (0.75,) * NUM_CLASSES})),  # type: ignore[union-attr]
            "mean distance to the prior",
            "15.0 %",
        ),
        (
            GOOD.model_copy(update={"engine": ENGINE.model_copy(update={"parity_agreement": 0.9})}),
            "engine parity",
            "90.0 %",
        ),
        (
            GOOD.model_copy(update={"engine": ENGINE.model_copy(update={"parity_passes": False})}),
            "engine parity",
            "worst class pole",
        ),
        (
            GOOD.model_copy(update={"engine": ENGINE.model_copy(update={"candidate_s": 0.2})}),
            "latency ratio",
            "200 ms",
        ),
    ],
)
def test_each_fault_is_refused_by_its_own_check(measurements: GateMeasurements, refusing: str, told: str) -> None:
    verdict = judge(measurements, GateLimits())
    assert not verdict.passed
    failed = {check.name: check for check in verdict.checks if not check.passed}
    assert refusing in failed
    assert told in failed[refusing].explanation


@pytest.mark.parametrize("part", ["sources", "target", "engine"])
def test_what_was_not_measured_is_not_promoted(part: str) -> None:
    verdict = judge(GOOD.model_copy(update={part: None}), GateLimits())
    (failed,) = (check for check in verdict.checks if not check.passed)
    assert failed.value is None
    assert "Not measured" in failed.explanation


def test_nothing_at_all_is_refused_and_so_is_no_number() -> None:
    assert not judge(GateMeasurements(), GateLimits()).passed
    assert not judge(GateMeasurements(trouble={"candidate": "no file"}), GateLimits()).passed
    assert not judge(with_target(agreement=float("nan")), GateLimits()).passed
    assert not judge(with_target(presence=None), GateLimits()).passed
    assert not judge(with_target(sure=(0.0,) * NUM_CLASSES, kept=(0.0,) * NUM_CLASSES), GateLimits()).passed


def test_source_frames_without_labels_give_no_number() -> None:
    void = LabelledScores.of("day", 10, *np.zeros((2, NUM_CLASSES, NUM_CLASSES), np.int64))
    few = LabelledScores.of("day", 10, *np.eye(NUM_CLASSES, dtype=np.int64)[None].repeat(2, axis=0))
    for scores_of_nothing in (void, few):
        verdict = judge(GOOD.model_copy(update={"sources": (scores_of_nothing,)}), GateLimits())
        failed = [check for check in verdict.checks if not check.passed]
        assert [check.name for check in failed] == ["source mIoU lost, day", "worst source class kept, day"]
        assert all(check.value is None and "labelled pixels" in check.explanation for check in failed)
        assert b"NaN" not in verdict.encode()


def test_a_judge_that_is_sure_of_nothing_gives_no_number() -> None:
    for sure, missing in (((0.0,), 2), ((0.0001,), 1)):
        found = with_target(sure=sure * NUM_CLASSES, kept=sure * NUM_CLASSES)
        failed = [check for check in judge(found, GateLimits()).checks if not check.passed]
        assert [check.value for check in failed] == [None] * missing
        assert all("Not measured" in check.explanation for check in failed)


def test_no_number_is_kept_as_none() -> None:
    verdict = judge(with_target(agreement=float("nan")), GateLimits())
    assert [check.value for check in verdict.checks if not check.passed] == [None]
    assert type(verdict).decode(verdict.encode(), "verdict") == verdict


def test_labelled_regions_are_optional_unless_the_limits_say_otherwise() -> None:
    assert judge(GOOD, GateLimits()).passed
    verdict = judge(GOOD, GateLimits(sentinel_required=True))
    assert [check.name for check in verdict.checks if not check.passed] == ["labelled target mIoU lost"]
    assert judge(GOOD.model_copy(update={"sentinel": scores(790)}), GateLimits(sentinel_required=True)).passed


def test_classes_that_nobody_labelled_count_for_neither() -> None:
    incumbent, candidate = np.zeros((2, NUM_CLASSES, NUM_CLASSES), np.int64)
    incumbent[0, 0] = 900
    incumbent[0, 16] = 100
    candidate[0, 0] = 1000
    found = LabelledScores.of("day", 1, incumbent, candidate)
    assert found.mean_iou("incumbent") == pytest.approx(0.9)
    assert found.mean_iou("candidate") == 1.0
