"""Source training: it learns, it survives a kill to the bit, several processes train one network."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import cli
from adaptation.learning.networks.checkpoints import load_network, load_network_config
from adaptation.learning.training.checkpoint import CHECKPOINT_NAME
from adaptation.learning.training.errors import TrainingError
from adaptation.learning.training.record import TrainingRecord
from adaptation.learning.training.train import check_out, train
from tests.exchange.png_files import optimised_png

PROGRAM = Path(__file__).with_name("small_training.py")


def _load_program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("small_training", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


small = _load_program()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six CamVid frames of 60x80: sky over road, with a car of its own colour somewhere."""
    root = tmp_path_factory.mktemp("camvid")
    rng = np.random.default_rng(0)
    for folder in ("frames", "labels"):
        (root / folder).mkdir()
    for index in range(6):
        labels = np.full((60, 80), 3, dtype=np.uint8)
        labels[:25] = 0
        x = int(rng.integers(60))
        labels[20:36, x : x + 20] = 8
        colors = np.zeros((12, 3), dtype=np.uint8)
        colors[[0, 3, 8]] = (120, 170, 230), (90, 90, 90), (160, 30, 30)
        noise = rng.integers(20, size=(60, 80, 1), dtype=np.uint8)
        Image.fromarray(colors[labels] + noise).save(root / "frames" / f"0006R0_f{index:05}.png")
        Image.fromarray(labels).save(root / "labels" / f"0006R0_f{index:05}.png")
    return root


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1"}


def comparable(out: Path) -> tuple[bytes, dict[str, Any]]:
    record = TrainingRecord.read(out).model_dump()
    return (out / "weights.safetensors").read_bytes(), record | {"training_s": 0.0}


@pytest.fixture(scope="module")
def uninterrupted(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("uninterrupted") / "out"
    train(small.open_training(data, out, 40, 1e9), lambda *_: None)
    return out


def test_it_learns_and_records_what_it_saw(uninterrupted: Path) -> None:
    record = TrainingRecord.read(uninterrupted)
    assert len(record.losses) == 2
    assert record.losses[-1] < 0.8 * record.losses[0]
    assert record.data[0].model_dump() == {
        "folder": record.data[0].folder, "layout": "camvid-frames", "split": None, "sequences": (), "weight": 1.0,
        "frames": 6, "sha256": record.data[0].sha256,
    }  # fmt: skip
    seen = {0, 10, 13}  # road, sky, car
    assert {k for k, share in enumerate(record.source_pixel_frequency) if share > 0} == seen
    assert {k for k, share in enumerate(record.stream_pixel_frequency) if share > 0} == seen
    assert sum(record.source_pixel_frequency) == pytest.approx(1)
    assert record.source_presence_counts[10] == 6
    assert record.stream_crops == 160
    # cars are rare, so the stream shows more of them than the frames do
    assert record.stream_pixel_frequency[13] > record.source_pixel_frequency[13]
    assert not (uninterrupted / CHECKPOINT_NAME).exists()
    assert load_network_config(uninterrupted) == small.CONFIG.network
    assert load_network(uninterrupted).detail


def test_a_killed_training_goes_on_to_the_same_bits(data: Path, uninterrupted: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, str(PROGRAM), str(data), str(out), "40", "0"]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(3)] == ["1\n", "2\n", "3\n"]
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert (out / CHECKPOINT_NAME).exists()
    resumed = small.open_training(data, out, 40, 1e9)
    started_at: list[int] = []
    train(resumed, lambda done, _: started_at.append(done))
    assert started_at[0] >= 3  # two iterations were saved before the third was reported
    assert comparable(out) == comparable(uninterrupted)


def test_two_processes_train_one_network_on_the_same_crops(data: Path, uninterrupted: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, str(PROGRAM), str(data), str(out), "40", "1e9"]
    subprocess.run(command, check=True, env=environment(), capture_output=True, timeout=250)
    assert (out / "digest_0.txt").read_text() == (out / "digest_1.txt").read_text()
    one, two = TrainingRecord.read(uninterrupted), TrainingRecord.read(out)
    assert two.processes == 2
    assert two.stream_pixel_frequency == one.stream_pixel_frequency
    assert two.stream_presence_counts == one.stream_presence_counts
    # batch norm sees half of the batch in each process, so the losses are alike but not equal
    assert two.losses == pytest.approx(one.losses, rel=0.3)


def test_another_training_is_not_continued(data: Path, uninterrupted: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="holds a finished training"):
        train(small.open_training(data, uninterrupted, 40, 1e9), lambda *_: None)

    class Stopped(Exception):
        pass

    def stop(done: int, loss: torch.Tensor) -> None:
        if done == 2:
            raise Stopped

    with pytest.raises(Stopped):
        train(small.open_training(data, tmp_path, 20, 0.0), stop)
    with pytest.raises(TrainingError, match="another number of iterations"):
        train(small.open_training(data, tmp_path, 30, 0.0), stop)
    other_start = small.open_training(data, tmp_path, 20, 0.0)
    other_start.run = replace(other_start.run, start_sha256="0" * 64)
    with pytest.raises(TrainingError, match="another start"):
        train(other_start, stop)
    other_data = Path(shutil.copytree(data, tmp_path / data.name))
    Image.fromarray(np.full((60, 80), 3, dtype=np.uint8)).save(other_data / "labels" / "0006R0_f00000.png")
    with pytest.raises(TrainingError, match="another data"):
        train(small.open_training(other_data, tmp_path, 20, 0.0), stop)
    whole = (tmp_path / CHECKPOINT_NAME).read_bytes()
    (tmp_path / CHECKPOINT_NAME).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TrainingError, match="delete it to begin anew, or choose another --out"):
        train(small.open_training(data, tmp_path, 20, 0.0), stop)


def test_a_training_writes_over_nothing(uninterrupted: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("notes")
    imported = tmp_path / "imported"
    imported.mkdir()
    shutil.copy(uninterrupted / "network.json", imported)
    for out, reason in ((tmp_path / "notes.txt", "no folder"), (imported, "a network"), (uninterrupted, "finished")):
        with pytest.raises(TrainingError, match=reason):
            check_out(out)
        # before the data is looked at, which may take minutes
        status, output = run("train-source", "--data", "nowhere", "--out", out, "--iterations", 1)
        assert status == 1
        assert reason in output
    check_out(tmp_path)
    check_out(tmp_path / "new")


def test_the_commands_train_and_evaluate(data: Path, tmp_path: Path) -> None:
    out, scores = tmp_path / "net", tmp_path / "scores.json"
    status, output = run("train-source", "--data", data, "--out", out, "--iterations", 1, "--batch-size", 2)
    assert status == 0, output
    assert "loss 0.000" not in output
    record = TrainingRecord.read(out)
    assert record.config.recipe == "starter"
    evaluate = ("evaluate", out, "--data", data, "--classes", "camvid11", "--limit", 2)
    windows = ("--frame-size", "64x130", "--outer-crop", "64x64", "--detail-crop", "32x32")
    status, output = run(*evaluate, *windows, "--json", scores)
    assert status == 0, output
    assert "bicyclist" in output
    for refused, reason in (
        (("--frame-size", "8x8"), "the nearest is 64x64"),
        (("--frame-size", "64x128", "--outer-crop", "40x40"), "sides must be multiples of"),
        (("--json", tmp_path / "no" / "scores.json"), "cannot be written"),
    ):
        status, output = run(*evaluate, *refused)
        assert status == 1
        assert reason in output
    written = json.loads(scores.read_text())
    assert written["frames"] == 2
    assert sum(written["true_pixels"].values()) == 2 * 60 * 80


def test_optimised_labels_score_as_before(uninterrupted: Path, data: Path, tmp_path: Path) -> None:
    optimised = tmp_path / "optimised"
    shutil.copytree(data, optimised)
    for path in (optimised / "labels").iterdir():
        path.write_bytes(optimised_png(np.asarray(Image.open(path))))
    scores = []
    for folder in (data, optimised):
        status, output = run("evaluate", uninterrupted, "--data", folder, "--json", tmp_path / "scores.json")
        assert status == 0, output
        scores.append(json.loads((tmp_path / "scores.json").read_text()))
    assert scores[0]["true_pixels"] == scores[1]["true_pixels"]
    assert scores[0]["mean_iou"] == scores[1]["mean_iou"]


def run(*arguments: Any) -> tuple[int, str]:
    words = [str(argument) for argument in arguments]
    result = CliRunner().invoke(cli.app_for(words), words)
    return result.exit_code, result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train-source", "--data", "gta", "--out", "out", "--iterations", "1", "--weight", "-1"], "above 0"),
        (["train-source", "--data", "gta", "--out", "out", "--iterations", "1", "--split", "x"], "without splits"),
        (["train-source", "--data", "gta", "--out", "out", "--iterations", "1", "--start", "x"], "x is missing"),
        (["train-source", "--data", "nowhere", "--out", "out", "--iterations", "1"], "nowhere is no folder"),
        (["train-source", "--data", ".", "--out", "out", "--iterations", "1", "--recipe", "x"], "there is no recipe x"),
        (["train-source", "--data", ".", "--out", "out", "--iterations", "1", "--layout", "x"], "there is no layout x"),
        (["evaluate", "nowhere", "--data", ".", "--classes", "12"], "there is no class subset 12"),
        (["evaluate", "nowhere", "--data", "."], "nowhere holds no network"),
        (["evaluate", "nowhere", "--data", ".", "--frame-size", "512"], "'512' is no frame size"),
    ],
)
def test_bad_options_are_refused_with_what_to_do(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("images", "labels"):
        (tmp_path / "gta" / folder).mkdir(parents=True)
    status, output = run(*arguments)
    assert status == 1
    assert message in output
