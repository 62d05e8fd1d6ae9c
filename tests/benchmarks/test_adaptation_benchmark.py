"""The benchmark of adaptation: its frames, a miniature run through every row, what it goes on with, and its figures."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adaptation.learning.data.labelled_frames import DataError
from adaptation.learning.evaluation.scores import Scores, score
from benchmarks.adaptation.__main__ import main
from benchmarks.adaptation.cells import Cell
from benchmarks.adaptation.protocol import open_protocol
from benchmarks.adaptation.rows import ROWS
from benchmarks.adaptation.summary import (
    gap_closed,
    half_interval,
    mean_of_large_classes,
    mean_percent,
    summarize,
    verdicts,
)
from benchmarks.report import print_table, write_report

SEQUENCES = {"0006R0_f": 3, "0016E5_": 2, "Seq05VD_f": 2}


def write_frames(frames: Path, labels: Path, names: list[str], brightness: float) -> None:
    """CamVid frames of 60 x 80: sky over road, with a car."""
    frames.mkdir(parents=True, exist_ok=True)
    labels.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    colors = np.zeros((12, 3))
    colors[[0, 3, 8]] = (120, 170, 230), (90, 90, 90), (160, 30, 30)
    for name in names:
        ids = np.full((60, 80), 3, dtype=np.uint8)
        ids[:25] = 0
        x = int(rng.integers(60))
        ids[20:36, x : x + 20] = 8
        image = (brightness * (colors[ids] + rng.integers(20, size=(60, 80, 1)))).astype(np.uint8)
        Image.fromarray(image).save(frames / f"{name}.png")
        Image.fromarray(ids).save(labels / f"{name}.png")


def day_names() -> list[str]:
    return [f"{prefix}{index:05}" for prefix, count in SEQUENCES.items() for index in range(count)]


def dusk_names(count: int) -> list[str]:
    return [f"0001TP_{6690 + 30 * index:06}" for index in range(count)]


@pytest.fixture(scope="module")
def camvid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("camvid")
    write_frames(root / "day" / "frames", root / "day" / "labels", day_names(), 1.0)
    write_frames(root / "dusk" / "frames", root / "dusk" / "labels", dusk_names(8), 0.5)
    return root


def test_no_frame_is_both_labelled_and_scored(tmp_path: Path) -> None:
    """With the 62 frames of the real drive, in both layouts."""
    write_frames(tmp_path / "two" / "day" / "frames", tmp_path / "two" / "day" / "labels", day_names(), 1.0)
    write_frames(tmp_path / "two" / "dusk" / "frames", tmp_path / "two" / "dusk" / "labels", dusk_names(62), 0.5)
    public = tmp_path / "public"
    write_frames(public / "train", public / "trainannot", day_names()[:5] + dusk_names(62), 1.0)
    write_frames(public / "test", public / "testannot", [*day_names()[5:], "0001TP_008550"], 1.0)
    for data in (tmp_path / "two", public):
        protocol = open_protocol(data, tmp_path / "work", "-")
        assert len(protocol.source.frames()) == 5
        assert [frame.sequence for frame in protocol.source_scored] == ["Seq05VD"] * 2
        assert len(protocol.target.frames()) == 62
        sizes = {}
        for name, split in protocol.splits.items():
            labelled = {frame.image.stem for frame in split.labelled.frames()}
            scored = [frame.image.stem for frame in split.scored]
            assert labelled.isdisjoint(scored)
            sizes[name] = (len(labelled), len(scored), scored[0], scored[1])
        assert sizes["dusk"] == (49, 13, "0001TP_006690", "0001TP_006840")
        assert sizes["block"] == (44, 13, "0001TP_008160", "0001TP_008190")


def test_other_folders_are_refused_with_what_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="neither day and dusk, nor"):
        open_protocol(tmp_path, tmp_path / "work", "-")


def run(camvid: Path, work: Path, rows: list[str]) -> dict[str, object]:
    arguments = ["--data", str(camvid), "--work", str(work / "work"), "--results", str(work / "results"), "--miniature"]
    arguments += ["--rows", *rows, "--seeds", "1", "--source-iterations", "2", "--iterations", "1"]
    main([*arguments, "--most-frames", "2"])
    (newest,) = sorted((work / "results").iterdir())[-1:]
    return dict(json.loads(newest.read_text()))


@pytest.mark.timeout(900)  # 25 small rounds, each with its trainings
def test_a_miniature_goes_through_every_row_and_is_not_done_twice(camvid: Path, tmp_path: Path) -> None:
    report = run(camvid, tmp_path, list(ROWS))
    rows = report["rows"]
    assert isinstance(rows, list)
    assert [row["row"] for row in rows] == [plan.what for plan in ROWS.values()]
    assert {"dusk", "block", "source", "ships", "minutes"} <= set(rows[0])
    cells = sorted((tmp_path / "work" / "cells").glob("*/cell.json"))
    asked = [name for name, plan in ROWS.items() if plan.by_split]
    assert len(cells) == len(ROWS) + len(asked)
    written = [path.stat().st_mtime_ns for path in cells]
    again = run(camvid, tmp_path, ["full", "source"])
    assert [path.stat().st_mtime_ns for path in cells] == written
    assert again["rows"] == rows


def test_cells_of_other_settings_are_not_mixed(camvid: Path, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(
        json.dumps({"data": str(camvid), "source_iterations": "7", "iterations": "None", "most_frames": "60"})[:-1]
        + ', "target": "sim-dusk", "miniature": "False"}'
    )
    with pytest.raises(SystemExit, match="begun with another --source-iterations"):
        main(["--data", str(camvid), "--work", str(tmp_path)])


def cell(row: str, seed: int, mean_iou: float, source: float = 0.5) -> Cell:
    def scores(value: float) -> Scores:
        iou = {"sky": value + 0.1, "fence": value - 0.1, "train": None}
        pixels = {"sky": 20_000, "fence": 300, "train": 0}
        return Scores(classes="19", frames=1, mean_iou=value, pixel_accuracy=value, iou=iou, true_pixels=pixels)

    return Cell(row=row, seed=seed, target={"dusk": scores(mean_iou)}, source=scores(source), ships="-", seconds=60)


def test_the_gap_is_closed_seed_by_seed() -> None:
    cells = [cell("source", 0, 0.4), cell("upper", 0, 0.6), cell("full", 0, 0.5)]
    cells += [cell("source", 1, 0.4), cell("upper", 1, 0.5), cell("full", 1, 0.5), cell("full", 2, 0.9)]
    assert [gap_closed(cells[index], cells, "dusk") for index in (2, 5, 6)] == [pytest.approx(50), 100, None]
    (full,) = (row for row in summarize(cells, ["dusk"]) if row["row"] == ROWS["full"].what)
    assert full["seeds"] == 3
    assert full["gap closed, dusk"] == pytest.approx(75)
    assert full["dusk"] == pytest.approx(100 * np.mean([0.5, 0.5, 0.9]))
    assert full["dusk, large classes"] == pytest.approx(full["dusk"] + 10)


def test_verdicts_speak_of_rows_at_hand_alone() -> None:
    rows = summarize(
        [cell("source", 0, 0.4), cell("upper", 0, 0.6), cell("full", 0, 0.45), cell("cr", 0, 0.3)], ["dusk"]
    )
    lines = verdicts(rows, ["dusk"])
    assert "FAILS: all together closes 50 % of the gap on dusk (25.0, wanted 50.0)" in lines
    assert "FAILS: + CR loses at most 1 on dusk (30.0, wanted 39.0)" in lines
    assert "holds: + CR loses at most 2 on source (50.0, wanted 48.0)" in lines
    assert not any("random" in line for line in lines)


def test_intervals_need_two_seeds() -> None:
    assert math.isnan(half_interval([50.0]))


def test_a_mean_of_nothing_is_no_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nothing = score(np.zeros((19, 19), np.int64), "19", 1)
    assert math.isnan(mean_percent(nothing))
    rows = [{"row": "a", "mean": mean_percent(nothing)}]
    written = write_report("nothing", rows, {}, tmp_path).read_text()
    assert json.loads(written, parse_constant=lambda constant: pytest.fail(constant))["rows"][0]["mean"] is None
    print_table("nothing", rows)
    assert "nan" not in capsys.readouterr().out
    assert half_interval([50.0, 52.0, 54.0]) == pytest.approx(4.30 * 2 / math.sqrt(3))
    assert mean_of_large_classes(cell("full", 0, 0.5).source) == pytest.approx(0.6)
