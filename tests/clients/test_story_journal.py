"""What the demo makes of its answers: scores on the same frames, windows by version, the table, lines and picture."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from clients.demo.journal import Answer, Journal, class_iou, confusion_of, mean_iou, timeline
from clients.demo.tables import stages, timeline_lines
from clients.demo.timeline_picture import draw_story


def confusion(right: int, wrong: int) -> np.ndarray:
    """Road that is right, and road that was taken for sidewalk."""
    counted_KK = np.zeros((19, 19), np.int64)
    counted_KK[0, 0], counted_KK[0, 1] = right, wrong
    return counted_KK


def answer(at_s: float, moment: int, version: int, right: int, domain: str = "sim-dusk", prior: bool = False) -> Answer:
    return Answer(at_s, (domain, 0, moment), version, prior, 0.1, confusion(right, 100 - right))


def test_the_last_answer_to_a_frame_counts_and_classes_are_those_of_the_truth() -> None:
    counted_KK = confusion_of([answer(0, 0, 1, 10), answer(1, 1, 1, 80), answer(2, 0, 1, 90)])
    assert counted_KK.sum() == 200
    iou_K = class_iou(counted_KK)
    assert iou_K[0] == pytest.approx(170 / 200)
    assert np.isnan(iou_K[1:]).all()
    assert mean_iou(counted_KK) == pytest.approx(0.85)
    assert np.isnan(mean_iou(confusion_of([])))


def test_windows_hold_the_last_frames_of_one_version_and_domain() -> None:
    answers = [answer(i, i, 1, 60) for i in range(12)] + [answer(20 + i, i, 2, 80) for i in range(13)]
    points = timeline(answers, 12)
    assert [(point.version, round(point.mean_iou, 2)) for point in points] == [(1, 0.6), (2, 0.8), (2, 0.8)]


def test_frames_without_labels_make_no_point_and_no_number() -> None:
    journal = Journal()
    for moment in range(12):
        journal.add(replace(answer(moment, moment, 1, 0), confusion_KK=np.zeros((19, 19), np.int64)))
    assert timeline(journal.answers, 12) == []
    assert timeline_lines(journal, 12) == []


def test_stages_compare_without_and_with_the_prior_and_the_picture_shows_who_answered(tmp_path: Path) -> None:
    journal = Journal()
    for at_s, made in enumerate([("sim-day", 1, 90), ("sim-dusk", 1, 60), ("sim-dusk", 1, 65), ("sim-dusk", 2, 80)]):
        domain, version, right = made
        for moment in range(12):
            journal.add(answer(20 * at_s + moment, moment, version, right, domain, prior=right == 65))
    journal.note("the fleet drives by day", "day")
    shown = stages(journal.answers, 2)
    assert [(s.title, round(100 * mean_iou(s.confusion_KK)), s.frames) for s in shown] == [
        ("day, release 1", 90, 12),
        ("dusk, no prior", 60, 12),
        ("dusk, prior", 65, 12),
        ("dusk, release 2", 80, 12),
    ]
    assert [line.split("|")[0].strip() for line in timeline_lines(journal, 12)[:-1]] == [
        "sim-day v1",
        "sim-dusk v1",
        "sim-dusk v2",
    ]
    draw_story(tmp_path / "story.png", journal, shown, 12)
    picture_HW3 = cv2.cvtColor(cv2.imread(str(tmp_path / "story.png")), cv2.COLOR_BGR2RGB)
    who_answered_W3 = picture_HW3[610, 100:1560]
    for ink in ((0xE0, 0x7A, 0x1F), (0x15, 0x65, 0xC0)):
        assert (who_answered_W3 == ink).all(axis=1).any()
