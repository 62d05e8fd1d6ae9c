"""The benchmark of adaptation: its frames, miniature cells that are not measured twice, and its figures."""

import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from adaptation.learning.data.data_choice import choose_data
from adaptation.learning.data.labelled_frames import DataError, read_labels
from adaptation.learning.training.recipes import starter
from benchmarks.adaptation.__main__ import main
from benchmarks.adaptation.cells import Bench, Cell, Counts, Judged, Key, read_cells, run_cell
from benchmarks.adaptation.grid import chosen, wanted
from benchmarks.adaptation.rows import ESSENTIAL, ROWS, START
from benchmarks.adaptation.shifts import Shift, Truth, open_shift
from benchmarks.adaptation.starts import Start, Training, make_start
from benchmarks.adaptation.table import demands, figure, outdated, regrets, table
from exchange.jobs.recipes import RoundConfig, SelfLabelingConfig
from exchange.networks import NetworkConfig
from tests.rounds.small_round import CONFIG

SEQUENCES = {"0006R0_f": 3, "0016E5_": 2, "Seq05VD_f": 2}
SIZES = {"embed_dims": (8, 16, 40, 64), "num_heads": (1, 2, 5, 8), "depths": (1,) * 4, "sr_ratios": (8, 4, 2, 1)}
NETWORK = NetworkConfig(encoder="mit_custom", head="light", dims={**SIZES, "channels": 16, "attention_channels": 8})
TOY = {"crops": CONFIG.crops, "detail_hw": CONFIG.detail_hw, "batch_size": 2}


def write_frames(folder: Path, names: list[str], brightness: float) -> None:
    """CamVid frames of 60 x 80: sky over road, with a car."""
    frames, labels = folder / "frames", folder / "labels"
    frames.mkdir(parents=True)
    labels.mkdir(parents=True)
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


@pytest.fixture(scope="module")
def camvid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("camvid")
    days = [f"{prefix}{index:05}" for prefix, count in SEQUENCES.items() for index in range(count)]
    write_frames(root / "day", days, 1.0)
    write_frames(root / "dusk", [f"0001TP_{6690 + 30 * index:06}" for index in range(62)], 0.5)
    return root


def test_camvid_scores_dusk_apart_from_labelled_frames(camvid: Path, tmp_path: Path) -> None:
    shift = open_shift("camvid-dusk", camvid, tmp_path)
    assert (len(shift.source.frames()), len(shift.source_held_out.frames()), len(shift.target.frames())) == (5, 2, 62)
    assert len(shift.truths["dusk"].frames) == 62
    assert shift.truths["dusk"].blocks[::10] == ("0", "1", "2", "3", "4", "5", "6")
    labelled = [frame.image.stem for frame in shift.labelled.frames()]
    apart = [frame.image.stem for frame in shift.truths[shift.truth_with_labels].frames]
    assert (len(labelled), len(apart)) == (44, 12)
    assert max(labelled) < min(apart)


def test_drivable_area_becomes_two_train_ids_and_no_drive_is_in_two_splits(tmp_path: Path) -> None:
    data = tmp_path / "bdd"
    for part in ("frames", "labels"):
        (data / part).mkdir(parents=True)
    with (data / "splits.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("name", "split", "drive"))
        for index, split in enumerate(("day-train", "day-val", "night-adapt", "night-adapt", "night-test")):
            name = f"drive{index}-frame"
            rows.writerow((name, split, f"drive{index}"))
            Image.fromarray(np.full((36, 64, 3), 40 * index, np.uint8)).save(data / "frames" / f"{name}.jpg")
            Image.fromarray(np.tri(36, 64, 0, np.uint8)).save(data / "labels" / f"{name}.png")
    shift = open_shift("bdd-night", data, tmp_path / "work")
    assert [len(choice.frames()) for choice in (shift.source, shift.source_held_out, shift.target)] == [1, 1, 2]
    assert shift.truths["night-adapt"].blocks == ("drive2", "drive3")
    assert shift.truths["night-test"].blocks == ("drive4",)
    (frame,) = shift.truths["night-test"].frames
    assert (read_labels(frame) == np.where(np.tri(36, 64) == 1, 0, 2)).all()


def test_missing_frames_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="give their folder by --bdd"):
        open_shift("bdd-night", None, tmp_path)
    with pytest.raises(SystemExit, match="by --camvid"):
        main(["--minutes", "9", "--work", str(tmp_path / "work"), "--results", str(tmp_path / "results")])


def small(config: RoundConfig) -> RoundConfig:
    settings, labels = config.self_training, config.pseudo_labels
    if settings is not None and settings.self_labeling is not None:
        few = SelfLabelingConfig(prototype_frames=3, fewest_frames=2, pixels_per_image=32, queue_pixels=128)
        settings = settings.model_copy(update={"self_labeling": few})
    if labels is not None:
        labels = labels.model_copy(update={"frames": 4, "statistics_frames": 2})
    update = {**TOY, "measured_frames": 3, "budget": 2, "self_training": settings, "pseudo_labels": labels}
    return config.model_copy(update=update)


def toy(training: Training) -> Training:
    config = training.config.model_copy(update={**TOY, "network": NETWORK, "frozen_stages": None})
    return Training(config, 2, training.seed, training.start)


@pytest.fixture(scope="module")
def bench(camvid: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """CamVid with seven frames of dusk, in frames of 64 x 96."""
    torch.set_num_threads(1)
    work = tmp_path_factory.mktemp("bench")
    write_frames(work / "dusk", [f"0001TP_{index:06}" for index in range(7)], 0.5)
    (target,) = choose_data([work / "dusk"], "all")
    frames, blocks = target.frames(), ("0", "0", "0", "1", "1", "2", "2")
    fields = {
        **vars(open_shift("camvid-dusk", camvid, work / "data")),
        "frame_size": (64, 96),
        "target": target,
        "labelled": target,
        "truths": {"dusk": Truth(frames, blocks), "dusk, last frames": Truth(frames[5:], blocks[5:])},
    }
    shift = Shift(**fields)
    start = make_start("robust", shift, work / "start", toy(Training(starter(), 2, 1, None)))
    return Bench(shift, start, work / "cells", small, toy)


@pytest.mark.parametrize("row", [START, "adabn", "round", "clicks", "upper-slow", "ia"])
def test_a_miniature_cell_is_scored_judged_and_kept(row: str, bench: Bench, tmp_path: Path) -> None:
    key = Key("camvid-dusk", "robust", row, 0)
    cell = run_cell(bench, key, tmp_path)
    assert read_cells(tmp_path) == [cell]
    assert key.files(tmp_path) == [key.file(tmp_path, bench.start)]
    assert not list(bench.work.iterdir())
    frames = {"dusk, last frames": 2} if ROWS[row].sees_labels else {"dusk": 7, "dusk, last frames": 2}
    assert {name: int(counts.array.sum()) for name, counts in cell.target.items()} == {
        name: 4800 * count for name, count in frames.items()
    }
    assert int(cell.source.array.sum()) == 2 * 4800
    assert (cell.gate is not None) == isinstance(ROWS[row].does, RoundConfig)
    assert set(cell.interpolated) == ({"0.25", "0.5", "1"} if row == "round" else set())
    assert cell.start_sha256 == bench.start.sha256


def test_every_row_has_its_own_settings() -> None:
    assert len({plan.settings for plan in ROWS.values()}) == len(ROWS)


def test_the_grid_begins_with_what_says_whether_rounds_help() -> None:
    keys = list(wanted())
    assert len(keys) == len(set(keys))
    assert keys[0] == Key("camvid-dusk", "robust", START, 0)
    assert {key.row for key in keys[: 5 * len(ESSENTIAL)]} == set(ESSENTIAL)
    assert not [key for key in keys if key.row == START and key.seed]
    named = list(chosen(["bdd-night"], ["robust"], ["self-label", "ia"], 2))
    assert named == [
        Key("bdd-night", "robust", row, seed) for row, seed in (("self-label", 0), ("ia", 0), ("self-label", 1))
    ]


def counts(iou: float) -> NDArray[np.int64]:
    """Two classes of 1000 pixels each: of the second, a road's, so many are taken for sky that its IoU is this."""
    confusion = np.zeros((19, 19), np.int64)
    confusion[10, 10] = 1000
    confusion[0, 0], confusion[0, 10] = round(1000 * iou), 1000 - round(1000 * iou)
    return confusion


def cell(row: str, seed: int, night: tuple[float, ...], *, promoted: bool | None = None, settings: str = "") -> Cell:
    by_block = {f"drive{index}": counts(value) for index, value in enumerate(night)}
    return Cell(
        shift="bdd-night",
        start="robust",
        row=row,
        seed=seed,
        start_sha256="a",
        settings=settings or ROWS[row].settings,
        target={"night-test": Counts.of(by_block)},
        source=Counts.of({"source": counts(0.7)}),
        interpolated={"0.5": Counts.of(by_block), "1": Counts.of({"all": counts(0.5)})} if row == "round" else {},
        gate=None if promoted is None else Judged(promoted=promoted, reasons=()),
        measured_at=datetime(2026, 12, 1, tzinfo=UTC),
        hardware={},
        versions={},
        seconds=60,
    )


def test_counts_survive_their_file() -> None:
    by_block = {"a": counts(0.3), "b": counts(0.9)}
    kept = Counts.model_validate_json(Counts.of(by_block).model_dump_json())
    assert kept.blocks == ("a", "b")
    assert (kept.array == np.stack(list(by_block.values()))).all()


def test_a_refused_round_ships_the_start() -> None:
    start = cell(START, 0, (0.6, 0.6))
    rounds = [cell("round", 0, (0.7, 0.7), promoted=True), cell("round", 1, (0.4, 0.6), promoted=False)]
    found = figure(rounds, [start], "night-test")
    assert (found.gain, found.shipped_gain, found.seeds) == (pytest.approx(0.0), pytest.approx(5.0), 2)
    assert found.spread == pytest.approx(np.std([10, -10], ddof=1))
    assert found.low == pytest.approx(-5.0)
    assert found.high == pytest.approx(5.0)


def test_the_table_tells_shares_of_the_gap_and_leaves_out_what_is_outdated() -> None:
    cells = [cell(START, 0, (0.6, 0.6)), cell("upper-slow", 0, (0.7, 0.7)), cell("upper-fast", 0, (0.8, 0.8))]
    cells += [cell("round", 0, (0.7, 0.7), promoted=True), cell("round", 1, (0.1, 0.1), promoted=True, settings="old")]
    lines = {line["row"]: line for line in table(cells)}
    line = lines[ROWS["round"].what]
    assert (line["n"], line["promoted"], line["gap"]) == (1, "1 of 1", pytest.approx(20.0))
    assert line["share of gap %"] == pytest.approx(50.0)
    assert outdated(cells) == 1
    assert demands(cells) == [
        "holds: bdd-night, robust, n=1: at least -0.5 (+10.00)",
        "holds: bdd-night, robust, n=1: at least 45 % of the gap (50 %)",
    ]
    by_share = {line["of the way"]: line for line in regrets(cells)}
    assert (by_share["0.5"]["regret"], by_share["1"]["regret"]) == (pytest.approx(0.0), pytest.approx(20.0))


def test_cells_are_compared_with_the_start_of_their_own_weights() -> None:
    """Machines of another kind train a start to other bits."""
    cells = [cell(START, 0, (0.6,)), cell("round", 0, (0.7,))]
    others = [
        each.model_copy(update={"start_sha256": "b"}) for each in (cell(START, 0, (0.8,)), cell("round", 1, (0.9,)))
    ]
    assert [line["row"] for line in table([cells[0], others[1]])] == [ROWS[START].what]
    (_, line) = table([*cells, *others])
    assert (line["n"], line["gain"]) == (2, pytest.approx(10.0))


def test_without_cells_the_command_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--results", str(tmp_path), "--work", str(tmp_path)])
    assert "holds no cell yet: give --minutes" in capsys.readouterr().out


def test_the_table_is_drawn_from_kept_cells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for one in (cell(START, 0, (0.6, 0.5)), cell("round", 0, (0.7, 0.7), promoted=False)):
        path = one.key.file(tmp_path, Start("robust", tmp_path, "a"))
        path.parent.mkdir(exist_ok=True)
        path.write_text(one.model_dump_json())
        assert json.loads(path.read_text())["row"] == one.row
    main(["--results", str(tmp_path), "--work", str(tmp_path)])
    shown = capsys.readouterr().out
    assert "the round that ships" in shown
    assert "0 of 1" in shown
    assert "nan" not in shown
