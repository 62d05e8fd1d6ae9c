"""The live prior's benchmark: its judgement on drives made up to be known, and the whole of it in miniature."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.live_prior.__main__ import main, verdicts
from benchmarks.live_prior.observed_drives import ObservedDrive, count_labels
from benchmarks.live_prior.simulated_shift import judge, make_timeline, source_presence, true_shares
from exchange.plan.estimate import SourceView

THRESHOLDS = np.full(19, 0.03)


def made_up(rates_K: np.ndarray, drives: int, seed: int, frames: int = 8, pixels: int = 64) -> list[ObservedDrive]:
    """Drives whose frames show classes with these rates to a network that confuses classes 0 and 1 at times."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(drives):
        shown_NK = random.random((frames, 19)) < rates_K
        share_NK = np.where(shown_NK, 0.1, 0.001).astype(np.float32)
        weights_NK = share_NK / share_NK.sum(axis=1, keepdims=True)
        truth_NS = np.stack([random.choice(19, pixels, p=weights_K) for weights_K in weights_NK]).astype(np.uint8)
        logits_NKS = 3.0 * (np.arange(19)[None, :, None] == truth_NS[:, None]) + random.normal(
            0, 1, (frames, 19, pixels)
        )
        made.append(ObservedDrive(share_NK, share_NK, share_NK, logits_NKS.astype(np.float16), truth_NS))
    return made


def test_a_known_shift_is_covered_and_costs_nothing() -> None:
    day, dusk = np.full(19, 0.5), np.linspace(0.1, 0.9, 19)
    source_drives, after = made_up(day, 40, 0), made_up(dusk, 60, 1)
    presence = np.array(source_presence(source_drives, THRESHOLDS))
    source = SourceView(THRESHOLDS, presence / presence.sum())
    truth = true_shares(after, source)
    np.testing.assert_allclose(truth, dusk, atol=0.1)
    timeline = make_timeline(made_up(day, 20, 2), after)
    assert timeline.shift == 160
    assert (np.diff(timeline.rows.captured_s_N) > 0).all()
    outcome = judge(timeline, truth, source, window=128, seed=0)
    assert outcome.covered_K.mean() >= 0.8
    assert len(outcome.iou_change_W) == 5
    assert outcome.iou_change_W.min() > -0.5
    assert outcome.largest_ratio > 0.2


def test_adjustment_is_counted_as_it_is_served() -> None:
    logits = np.zeros((1, 19, 3), np.float16)
    logits[0, 4] = 1.0
    truth = np.array([[4, 5, 255]], np.uint8)
    plain = count_labels(logits, truth, np.zeros(19))
    assert plain[4, 4] == plain[5, 4] == 1
    ratio = np.zeros(19)
    ratio[5] = 2.0
    assert count_labels(logits, truth, ratio)[[4, 5], [5, 5]].tolist() == [1, 1]


def test_verdicts_say_what_fails() -> None:
    row = {"against": "labels", "covered": 0.7, "worst change, mIoU": -0.4}
    covered, lost = verdicts([row])
    assert covered.startswith("FAILS: against labels, intervals cover 70.0 %")
    assert lost.startswith("holds: against labels, worst window -0.40 mIoU")


def test_the_benchmark_goes_on_with_the_drives_that_are_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All but one are made up; that one is rendered, and labelled by the starter."""
    work = tmp_path / "work"
    work.mkdir()
    for domain, first, drives in (("sim-day", 0, 24), ("sim-dusk", 5000, 11)):
        for number, drive in enumerate(made_up(np.full(19, 0.5), drives, first, frames=4, pixels=32 * 64)):
            np.savez(work / f"{domain}-{first + number}-4.npz", **vars(drive))
    size = ["--drives", "12", "--frames", "4", "--seeds", "1", "--window", "16", "--targets", "sim-dusk"]
    main([*size, "--work", str(work), "--results", str(tmp_path)])
    (file,) = tmp_path.glob("live_prior-*.json")
    report = json.loads(file.read_text())
    assert [(row["target"], row["windows"]) for row in report["rows"]] == [("sim-dusk", 3), ("sim-dusk", 3)]
    assert "against what the outputs follow, as served, worst window" in capsys.readouterr().out
    with np.load(work / "sim-dusk-5011-4.npz") as rendered:
        assert (rendered["truth_NS"] < 19).mean() > 0.5
        labelled = count_labels(rendered["logits_NKS"], rendered["truth_NS"], np.zeros(19))
        assert labelled.trace() / labelled.sum() > 0.3
        np.testing.assert_allclose(rendered["mean_probability_NK"].sum(axis=1), 1, atol=1e-3)
