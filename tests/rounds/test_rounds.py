"""A whole round: its steps on disk, killed anywhere and resumed to the bit, its report, and what it refuses."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import cli
from adaptation.learning.data.labelled_frames import DataError
from adaptation.learning.export.adaptation_record import AdaptationRecord
from adaptation.learning.rounds.report import Report
from adaptation.learning.rounds.run import adapt
from adaptation.learning.rounds.snapshot import Snapshot, read_asked
from adaptation.learning.rounds.steps import RoundError
from exchange.jobs.recipes import RECIPES, RoundConfig
from exchange.label_space import IGNORE_ID
from tests.rounds import small_round as small

PROGRAM = Path(small.__file__)
ROOT = PROGRAM.parents[2]

KILLS = {
    "small": (
        ("copying frames", 3),
        ("measuring the prior", 5),
        ("rectifying the head", 3),
        ("measuring prototypes", 2),
        ("self-training", 4),
        ("evaluating", 2),
    ),
    "pseudo_labels": (("labelling the target", 4), ("learning the pseudo-labels", 5)),
}


@pytest.fixture(scope="module")
def uninterrupted(start: Path, day: Path, dusk: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("uninterrupted") / "out"
    adapt(small.small_round(start, day, dusk, out), small.ignore)
    return out


def weights(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*.safetensors"))}


def results(out: Path) -> dict[str, object]:
    report = Report.read(out / "report").model_dump()
    report["prior"]["labelling_s"] = 0.0
    return report


@pytest.mark.parametrize("recipe", KILLS)
def test_a_round_killed_in_every_step_gives_the_same_bits(
    recipe: str, start: Path, day: Path, dusk: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    out, config = tmp_path / "out", small.CONFIGS[recipe]
    if config is not small.CONFIG:
        uninterrupted = tmp_path / "uninterrupted"
        adapt(small.small_round(start, day, dusk, uninterrupted, config), small.ignore)
    for what, done in KILLS[recipe]:
        command = [sys.executable, str(PROGRAM), *map(str, (start, day, dusk, out)), recipe, what, str(done)]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        process = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert process.returncode == -signal.SIGKILL, process.stderr
    steps_left: list[str] = []

    def note(what: str, done: int, total: int, numbers: Mapping[str, float]) -> None:
        steps_left.append(what)

    adapt(small.small_round(start, day, dusk, out, config), note)
    assert set(steps_left) <= {"evaluating", KILLS[recipe][-1][0]}
    assert weights(out) == weights(uninterrupted)
    # rectified, prototypes, student, teacher, and what ships; or the average, and what ships
    assert len(weights(out)) == {"small": 5, "pseudo_labels": 2}[recipe]
    assert results(out) == results(uninterrupted)
    assert not list(out.rglob("*.partial"))
    assert not list(out.rglob("checkpoint.pt"))


def test_a_finished_round_is_not_run_again(start: Path, day: Path, dusk: Path, uninterrupted: Path) -> None:
    events: list[str] = []
    report = adapt(small.small_round(start, day, dusk, uninterrupted), lambda what, *_: events.append(what))
    assert events == []
    assert report == uninterrupted / "report"


def test_the_report_says_what_was_done(uninterrupted: Path) -> None:
    report = Report.read(uninterrupted / "report")
    assert [report.budget.rectification_iterations, report.budget.self_training_iterations] == [4, 8]
    assert [point["iteration"] for point in report.histories["self-training"]] == list(range(1, 9))
    assert report.network.ships == "teacher"
    assert report.evaluation.scores_after is not None
    assert report.evaluation.scores_after.frames == 4
    assert sum(report.evaluation.shares_after) == pytest.approx(1)
    page = (uninterrupted / "report" / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 16  # four frames: plain, before, after, truth
    assert re.findall(r"""(?:src|href)="(?!data:)([^"]*)""", page) == []
    for word in ("small", "polyline", "traffic light", "bicyclist"):
        assert word in page


def test_the_prior_is_applied_once_and_the_record_says_so(uninterrupted: Path) -> None:
    record = AdaptationRecord.read(uninterrupted / "network")
    prior = Report.read(uninterrupted / "report").prior
    moved = np.array(prior.output_prior_before) * np.exp(prior.log_ratio)
    assert record.output_prior == pytest.approx(moved / moved.sum())
    assert record.output_prior_is == "the target's prior, applied once"


def test_without_rectification_the_outputs_follow_the_start(start: Path, day: Path, dusk: Path, tmp_path: Path) -> None:
    """And a target without labels, and a budget in minutes that is over before it begins."""
    plain = tmp_path / "frames" / "drive-7"
    shutil.copytree(dusk / "frames", plain)
    config = small.CONFIG.model_copy(update={"rectified_share": 0.0, "budget": 0.001, "budget_in": "minutes"})
    report = Report.read(adapt(small.small_round(start, day, plain.parent, tmp_path / "out", config), small.ignore))
    assert report.network.output_prior == report.prior.output_prior_before
    assert report.budget.self_training_iterations == 1
    assert report.budget.seconds_per_iteration is not None
    assert report.evaluation.scores_after is None
    assert "no labels to score against" in (tmp_path / "out" / "report" / "report.html").read_text()


def test_a_target_whose_labels_are_all_void_is_not_scored(start: Path, day: Path, dusk: Path, tmp_path: Path) -> None:
    shutil.copytree(dusk, tmp_path / "dusk")
    for file in (tmp_path / "dusk" / "labels").iterdir():
        Image.fromarray(np.full((60, 80), 11, dtype=np.uint8)).save(file)
    config = small.CONFIG.model_copy(update={"rectified_share": 0.0, "budget": 1})
    report = Report.read(
        adapt(small.small_round(start, day, tmp_path / "dusk", tmp_path / "out", config), small.ignore)
    )
    assert (report.evaluation.scores_before, report.evaluation.scores_after) == (None, None)
    assert set(report.evaluation.figures()) == {"agreement", "mean_confidence"}
    assert "no labels to score against" in (tmp_path / "out" / "report" / "report.html").read_text()


def test_frames_that_were_all_chosen_for_people_measure_nothing(
    start: Path, day: Path, dusk: Path, tmp_path: Path
) -> None:
    shutil.copytree(dusk / "frames", tmp_path / "target" / "chosen" / "drive")
    with pytest.raises(RoundError, match=r"every frame of .* was chosen for people"):
        adapt(small.small_round(start, day, tmp_path / "target", tmp_path / "out"), small.ignore)


def test_labels_from_people_are_frozen_with_their_frames(start: Path, day: Path, dusk: Path, tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    asked.mkdir()
    labels = np.full((60, 80), IGNORE_ID, dtype=np.uint8)
    labels[10:20, 10:20] = 11
    Image.fromarray(labels).save(asked / "0006R0_f00002.png")
    round_ = replace(small.small_round(start, day, dusk, tmp_path / "out"), asked=asked)
    adapt(round_, small.ignore)
    snapshot = round_.out / "snapshot"
    kept = [read_asked(snapshot, frame) for frame in Snapshot.read(snapshot).frames]
    assert [labels_HW is not None for labels_HW in kept] == [False, False, True, False, False, False]
    np.testing.assert_array_equal(kept[2], labels)

    Image.fromarray(labels).save(asked / "0006R0_f00009.png")
    with pytest.raises(RoundError, match="is named like no frame"):
        adapt(replace(round_, out=tmp_path / "stranger"), small.ignore)
    (asked / "0006R0_f00009.png").unlink()
    Image.fromarray(labels[:40]).save(asked / "0006R0_f00002.png")
    with pytest.raises(DataError, match="make them one size"):
        adapt(replace(round_, out=tmp_path / "size"), small.ignore)


def test_another_round_is_not_continued(
    start: Path, day: Path, dusk: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    other = small.CONFIG.model_copy(update={"learning_rate": 1e-4})
    with pytest.raises(RoundError, match="holds a round with another recipe"):
        adapt(small.small_round(start, day, dusk, uninterrupted, other), small.ignore)
    with pytest.raises(RoundError, match="holds a round with another source, target"):
        adapt(small.small_round(start, dusk, day, uninterrupted), small.ignore)
    (tmp_path / "something").touch()
    with pytest.raises(RoundError, match="is not empty and holds no round"):
        adapt(small.small_round(start, day, dusk, tmp_path), small.ignore)


def test_one_process_at_a_time_works_on_a_round(start: Path, day: Path, dusk: Path, tmp_path: Path) -> None:
    round_ = small.small_round(start, day, dusk, tmp_path / "out")

    def meddle(what: str, done: int, total: int, numbers: Mapping[str, float]) -> None:
        adapt(round_, small.ignore)

    with pytest.raises(RoundError, match="another process works on the round"):
        adapt(round_, meddle)


def test_a_source_that_changed_is_noticed(start: Path, day: Path, dusk: Path, tmp_path: Path) -> None:
    source = tmp_path / "day"
    shutil.copytree(day, source)

    class Stopped(Exception):
        pass

    def stop(what: str, done: int, total: int, numbers: Mapping[str, float]) -> None:
        if what == "measuring the prior":
            raise Stopped

    with pytest.raises(Stopped):
        adapt(small.small_round(start, source, dusk, tmp_path / "out"), stop)
    for folder, suffix in (("frames", "png"), ("labels", "png")):
        (source / folder / f"0006R0_f00005.{suffix}").unlink()
    with pytest.raises(RoundError, match="changed since the round began"):
        adapt(small.small_round(start, source, dusk, tmp_path / "out"), small.ignore)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_valid(name: str) -> None:
    config = RECIPES[name]()
    assert config.recipe == name
    assert RoundConfig.model_validate(config.model_dump()) == config


def test_a_recipe_without_self_training_only_rectifies() -> None:
    settings = small.CONFIG.model_dump()
    with pytest.raises(ValueError, match="or neither and rectified_share 1"):
        RoundConfig.model_validate(settings | {"rectified_share": 1.0})


def test_the_command_adapts(start: Path, day: Path, dusk: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["adapt", "--network", str(start), "--source", str(day), "--target", str(dusk), "--out", str(out)]
    arguments += ["--recipe", "rectify_only", "--iterations", "1", "--frame-size", "64x96", "--classes", "camvid11"]
    arguments += ["--no-export"]
    result = CliRunner().invoke(cli.app_for(arguments), arguments)
    assert result.exit_code == 0, result.output
    assert "bicyclist" in result.output
    assert AdaptationRecord.read(out / "network").ships == "rectified head"
    assert not (out / "release").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--recipe", "x"], "there is no recipe x"),
        (["--release", "r"], "give --release or --network, one of the two"),
        (["--minutes", "3", "--iterations", "3"], "--minutes (from 0.01 to 10080) or in --iterations"),
        (["--minutes", "-1"], "--minutes (from 0.01 to 10080) or in --iterations"),
        (["--source", "nowhere"], "nowhere is no folder"),
        (["--target", "nowhere"], "nowhere holds no JPEG or PNG"),
        (["--labels", "."], ". holds no PNG"),
        (["--frame-size", "60x90"], "multiples of 8"),
        (["--network", "."], ". holds no network"),
        (["--classes", "12"], "there is no class subset 12"),
    ],
)
def test_bad_options_are_refused_with_what_to_do(
    options: list[str],
    message: str,
    start: Path,
    day: Path,
    dusk: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    usual = {"--network": str(start), "--source": str(day), "--target": str(dusk), "--out": "out"}
    usual |= dict(zip(options[::2], options[1::2], strict=True))
    usual.setdefault("--frame-size", "64x96")
    arguments = ["adapt", *(word for option in usual.items() for word in option)]
    result = CliRunner().invoke(cli.app_for(arguments), arguments)
    assert result.exit_code == 1
    assert message in " ".join(result.output.split())
