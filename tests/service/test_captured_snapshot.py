"""The frames of a round: which are copied, what erasures leave, and how they lie on the disk."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adaptation.control.rounds import captured_snapshot
from adaptation.control.rounds.captured_snapshot import copy_captured
from adaptation.control.rounds.laid_out_frames import erased_since, lay_out
from adaptation.control.rounds.round_state import round_key
from adaptation.learning.rounds.snapshot import list_target
from exchange.erasing import erase_stored
from exchange.fleet.erasures import request_erasure
from exchange.jobs.round_files import TARGET_FOLDER
from exchange.storage import StorageRoot
from tests.service.learner_rig import FRAME_SIZE, leave_frames

ROUND = "0123456789abcdef"


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_frames_are_laid_out_by_drive_as_a_rounds_target(root: StorageRoot, tmp_path: Path) -> None:
    snapshot = copy_captured(root, "sim-dusk", ROUND)
    assert snapshot.frames == 12
    laid_out = lay_out(root, ROUND, snapshot, tmp_path)
    assert laid_out.vehicles == ("v1",)
    found = list_target(tmp_path / TARGET_FOLDER, "train")
    assert len(found) == 12
    assert len({drive for _, drive, _ in found}) == 3
    pixels = {np.asarray(Image.open(image).convert("RGB")).shape for image, _, _ in found}
    assert pixels == {(*FRAME_SIZE, 3)}


def test_what_was_copied_stays_though_shards_come_and_go(root: StorageRoot) -> None:
    first = copy_captured(root, "sim-dusk", ROUND)
    leave_frames(root, "sim-dusk", 5, seed=1)
    for shard in first.shards:
        root.delete(shard.copied_from)
    assert copy_captured(root, "sim-dusk", ROUND) == first


def test_the_newest_frames_are_taken_up_to_the_bound(root: StorageRoot, tmp_path: Path) -> None:
    leave_frames(root, "sim-dusk", captured_snapshot.MOST_FRAMES - 2, seed=1, size_hw=(8, 8))
    snapshot = copy_captured(root, "sim-dusk", ROUND)
    assert [shard.frames for shard in snapshot.shards] == [captured_snapshot.MOST_FRAMES - 2, 2]


def test_frames_that_were_chosen_for_people_are_left_out(root: StorageRoot) -> None:
    leave_frames(root, "sim-dusk", 5, seed=1, kept_for="rare class")
    assert copy_captured(root, "sim-dusk", ROUND).frames == 12


def test_an_erased_vehicle_is_in_no_copy(root: StorageRoot, tmp_path: Path) -> None:
    leave_frames(root, "sim-dusk", 5, vehicle="v2", seed=1)
    snapshot = copy_captured(root, "sim-dusk", ROUND)
    root.write(round_key(ROUND, "report.html"), b"pictures")
    laid_out = lay_out(root, ROUND, snapshot, made(tmp_path / "before"))
    assert laid_out.vehicles == ("v1", "v2")
    assert not erased_since(root, laid_out)
    request_erasure(root, "v2")
    assert erased_since(root, laid_out)
    again = lay_out(root, ROUND, snapshot, made(tmp_path / "requested"))
    assert again.vehicles == ("v1",)
    assert not erased_since(root, again)
    assert erase_stored(root, "v2").frames == 10
    assert root.read_if_any(round_key(ROUND, "report.html")) is None
    assert lay_out(root, ROUND, snapshot, made(tmp_path / "erased")).vehicles == ("v1",)
    assert len(list_target(tmp_path / "erased" / TARGET_FOLDER, "train")) == 12


@pytest.mark.parametrize("erased", ["v1", "v3"])
def test_what_was_erased_before_the_round_is_not_copied(root: StorageRoot, erased: str) -> None:
    request_erasure(root, erased)
    assert copy_captured(root, "sim-dusk", ROUND).frames == (0 if erased == "v1" else 12)
