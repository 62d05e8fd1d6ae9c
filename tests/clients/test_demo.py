"""`roadshift demo`, short and whole, from its start to its end, with the fake in the engine's place."""

import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
import torch

from adaptation.learning.export.release import SourceStatistics
from adaptation.learning.networks.checkpoints import load_network
from clients.demo.outside_releases import scores_beforehand

ROADSHIFT = Path(sys.executable).with_name("roadshift")


def test_the_demo_drives_through_both_domains_draws_and_ends_cleanly(tmp_path: Path) -> None:
    ended = subprocess.run(
        [ROADSHIFT, "demo", "--short", "--fake", "--vehicles", "2", "--frames", "2", "--out", tmp_path],
        env={**os.environ, "COLUMNS": "120"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    rows = {}
    for line in ended.stdout.splitlines():
        cells = [cell.strip() for cell in line.strip("│").split("│")]
        rows[cells[0]] = cells[1:]
    for domain in ("sim-day", "sim-dusk"):
        answered, _, _, _, refused, failed, _ = rows[domain]
        assert (answered, refused, failed) == ("4", "0", "0")
        for vehicle in range(2):
            assert cv2.imread(str(tmp_path / f"{domain}-{vehicle}.png")).shape == (512, 3 * 1024, 3)
    assert "draining" in (tmp_path / "gateway.log").read_text()


def test_a_gateway_that_cannot_start_is_quoted_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "gateway").write_text("in the way of the gateway's folder")
    ended = subprocess.run(
        [ROADSHIFT, "demo", "--short", "--vehicles", "1", "--frames", "1", "--out", tmp_path],
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 1
    errors = [line for line in ended.stderr.splitlines() if line]
    assert len(errors) == 1
    assert errors[0].startswith(f"error: {tmp_path}/gateway cannot be written")


@pytest.mark.timeout(900)
def test_the_whole_story_is_told_by_real_processes(tmp_path: Path) -> None:
    """A gateway and a learner that neither infer nor learn: day, dusk, a round, a candidate, promotion, rollback."""
    ended = subprocess.run(
        [ROADSHIFT, "demo", "--fake", "--out", tmp_path],
        env={**os.environ, "COLUMNS": "160"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    told = [line.partition(" s  ")[2] for line in ended.stdout.splitlines() if " s  " in line]
    expected = (
        "the fleet drives by day",
        "the fleet drives into dusk",
        ("drift starts a round", "no drift that the trigger is sure of"),  # whether so few frames show it, time decides
        "the gate accepts what the round has learnt",
        "canary: release 2 answers 50% of the drives",
        "release 2 is promoted",
        "rollback to release 1",
    )
    places = [next(place for place, line in enumerate(told) if line.startswith(text)) for text in expected]
    assert places == sorted(places)
    assert "the demo ended well: release 2 was learnt and promoted" in ended.stdout
    assert "every one answered; 2 releases" in ended.stdout
    first = ended.stdout.splitlines()[0]
    assert re.search(r"the console, once the learner has started: http://127\.0\.0\.1:\d+/\?token=[\w-]{43}$", first)
    link = first.rpartition(" ")[2]
    port, token = re.search(r":(\d+)/\?token=(.*)", link).groups()
    assert f"console on port {port}" in (tmp_path / "story" / "learner.log").read_text()
    kept = tmp_path / "story" / "learner" / "console-token"
    assert (kept.read_text(), kept.stat().st_mode & 0o777) == (f"{token}\n", 0o600)
    assert [line for line in ended.stdout.splitlines() if " s  ... " in line], "without a terminal a line every 10 s"
    assert cv2.imread(str(tmp_path / "story.png")).shape == (1180, 1600, 3)
    assert "draining" in (tmp_path / "story" / "gateway.log").read_text()


def test_a_folder_that_is_not_a_demos_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "story").mkdir()
    (tmp_path / "story" / "mine.txt").write_text("not to be deleted")
    ended = subprocess.run([ROADSHIFT, "demo", "--out", tmp_path], capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"error: {tmp_path}/story is not of an earlier demo")
    assert (tmp_path / "story" / "mine.txt").exists()


def test_what_ships_is_small_and_can_be_loaded() -> None:
    folder = Path(__file__).parents[2] / "model_repository"
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.suffix != ".pyc") <= 20_000_000
    state = load_network(folder / "daylight").state_dict()
    assert all(bool(torch.isfinite(tensor).all()) for tensor in state.values())
    assert SourceStatistics.of_training(folder / "daylight").seed == 1
    measured = scores_beforehand()
    assert 0 < measured["daylight"] < measured["taught by labels"] < 100
