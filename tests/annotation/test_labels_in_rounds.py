"""What people labelled is in the next round's snapshot; held-out labels reach the gate and never a training."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adaptation.control.labeling.desk import LabelDesk
from adaptation.control.rounds.captured_snapshot import copy_captured
from adaptation.control.rounds.laid_out_frames import erased_since, lay_out
from adaptation.learning.rounds.crops import TargetFrames
from adaptation.learning.rounds.snapshot import Snapshot, freeze, list_target
from exchange.erasing import erase_stored
from exchange.fleet.erasures import request_erasure
from exchange.fleet.frames import CapturedFrame, encode_members, join_shard
from exchange.images.labels import decode_index_png
from exchange.jobs.round_files import ASKED_FOLDER, HELD_OUT_FOLDER, TARGET_FOLDER
from exchange.regions.batches import read_batches
from exchange.regions.tasks import UNSURE
from exchange.storage import StorageRoot
from exchange.storage.locations import ShardName, region_frame_key
from tests.annotation.asked_regions import BEGIN, BUILDING, CAR, ROAD, SIZE_HW, frame_where, leave_batch, sha256_of

ROUND = "0123456789abcdef"


def capture(root: StorageRoot, frames: list[CapturedFrame]) -> None:
    root.create(ShardName("sim-dusk", "gw-a", BEGIN, len(frames)).key, join_shard(map(encode_members, frames)))


def label_all(root: StorageRoot, *labels: int) -> None:
    """The regions in their order, the last label again and again."""
    desk, given = LabelDesk(root), list(labels)
    while (task := desk.lease("anna")) is not None:
        desk.submit(task.id, "anna", given.pop(0) if len(given) > 1 else given[0])


@pytest.fixture
def learnt() -> CapturedFrame:
    return frame_where(held_out=False)


@pytest.fixture
def held_out() -> CapturedFrame:
    return frame_where(held_out=True)


def laid_out(root: StorageRoot, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    lay_out(root, ROUND, copy_captured(root, "sim-dusk", ROUND), folder)
    return folder


def test_a_label_covers_its_segment_and_nothing_else(root: StorageRoot, learnt: CapturedFrame, tmp_path: Path) -> None:
    leave_batch(root, [learnt], 4)
    label_all(root, CAR, UNSURE, BUILDING)
    folder = laid_out(root, tmp_path / "round")
    (path,) = (folder / ASKED_FOLDER).iterdir()
    labels_HW = decode_index_png(path.read_bytes())
    assert path.stem == sha256_of(learnt)
    middle = SIZE_HW[0] // 2
    expected_HW = np.full(SIZE_HW, 255, np.uint8)
    expected_HW[middle - 4 : middle, 0:8] = CAR  # of the first box the building; about its road somebody was unsure
    expected_HW[middle - 4 : middle + 4, 8:16] = BUILDING  # of the second both
    assert np.array_equal(labels_HW, expected_HW)


def test_held_out_frames_are_in_no_training(
    root: StorageRoot, learnt: CapturedFrame, held_out: CapturedFrame, tmp_path: Path
) -> None:
    plain = frame_where(held_out=False, after=500)
    capture(root, [learnt, held_out, plain])
    leave_batch(root, [learnt, held_out], 4)
    label_all(root, CAR)
    folder = laid_out(root, tmp_path / "round")
    freeze(tmp_path, [], folder / TARGET_FOLDER, "train", folder / ASKED_FOLDER, lambda done, total: None)
    frozen = Snapshot.read(tmp_path).frames
    assert len(frozen) == 2
    seen = {hashlib.sha256(image.tobytes()).hexdigest() for image in drawn_images(tmp_path)}
    assert seen == {sha256_of(learnt), sha256_of(plain)}
    judged = folder / HELD_OUT_FOLDER
    assert [path.stem for path in (judged / "labels").iterdir()] == [sha256_of(held_out)]
    assert [path.stem for path in (judged / "frames").rglob("*.png")] == [sha256_of(held_out)]
    assert {path.stem for path in (folder / ASKED_FOLDER).iterdir()} == {sha256_of(learnt)}


def drawn_images(snapshot: Path) -> list[np.ndarray]:
    frames, rng = TargetFrames(snapshot), np.random.default_rng(0)
    return [frames.draw(rng)[0] for _ in range(64)]


def test_frames_that_chance_did_not_keep_are_learnt_from_and_not_measured_on(
    root: StorageRoot, learnt: CapturedFrame, tmp_path: Path
) -> None:
    plain = frame_where(held_out=False, after=500)
    capture(root, [plain])
    chosen = CapturedFrame(
        learnt.metadata.model_copy(update={"kept_for": "low confidence"}),
        learnt.image,
        learnt.labels_png,
        learnt.confidence_png,
    )
    leave_batch(root, [chosen], 2)
    label_all(root, ROAD)
    folder = laid_out(root, tmp_path / "round")
    assert len(list_target(folder / TARGET_FOLDER, "train")) == 2
    freeze(tmp_path, [], folder / TARGET_FOLDER, "train", folder / ASKED_FOLDER, lambda done, total: None)
    snapshot = Snapshot.read(tmp_path)
    assert [frame.asked_sha256 is None for frame in snapshot.fair_frames] == [True]
    assert len(snapshot.frames) == 2


def test_what_two_people_dispute_is_in_no_snapshot(root: StorageRoot, learnt: CapturedFrame, tmp_path: Path) -> None:
    capture(root, [frame_where(held_out=False, after=500)])
    leave_batch(root, [learnt], 1, people=2)
    desk = LabelDesk(root)
    for name, label in (("anna", ROAD), ("ben", CAR)):
        task = desk.lease(name)
        assert task is not None
        desk.submit(task.id, name, label)
    assert not (laid_out(root, tmp_path / "round") / ASKED_FOLDER).exists()


def test_a_round_without_labels_is_as_it_was(root: StorageRoot, learnt: CapturedFrame, tmp_path: Path) -> None:
    capture(root, [learnt])
    folder = laid_out(root, tmp_path / "round")
    assert [path.name for path in folder.iterdir()] == [TARGET_FOLDER]


def test_an_erasure_takes_regions_labels_and_frames_away(root: StorageRoot, tmp_path: Path) -> None:
    gone, stays = frame_where(held_out=False), frame_where(held_out=False, vehicle="v2", after=500)
    gone_too = frame_where(held_out=True)
    leave_batch(root, [gone, stays, gone_too], 2)
    label_all(root, CAR)
    snapshot = copy_captured(root, "sim-dusk", ROUND)
    (tmp_path / "before").mkdir()
    before = lay_out(root, ROUND, snapshot, tmp_path / "before")
    assert before.vehicles == ("v1", "v2")
    request_erasure(root, "v1")
    assert erased_since(root, before)
    assert erase_stored(root, "v1").frames == 4  # two kept for people, and their two copies in the round
    (batch,) = read_batches(root, "sim-dusk")
    assert {task.vehicle for task in batch.tasks} == {"v2"}
    assert [task.number for task in batch.tasks] == [2, 3]
    assert all(sha256_of(stays) in info.key for info in root.list_objects("regions/sim-dusk/frames"))
    assert b"v1" not in b"".join(root.read(info.key).data for info in root.list_objects("regions"))
    (tmp_path / "after").mkdir()
    assert lay_out(root, ROUND, snapshot, tmp_path / "after").vehicles == ("v2",)
    assert not (tmp_path / "after" / HELD_OUT_FOLDER).exists()
    assert LabelDesk(root).undo("anna") is not None  # a region of the other vehicle


@pytest.mark.parametrize("held_out_one", [False, True])
def test_labels_of_a_frame_that_cannot_be_read_any_more_are_left_out(
    root: StorageRoot, tmp_path: Path, held_out_one: bool
) -> None:
    bad, good = (frame_where(held_out=held_out_one, after=after) for after in (0, 500))
    leave_batch(root, [bad, good], 2)
    label_all(root, CAR)
    key = region_frame_key("sim-dusk", sha256_of(bad), 1)
    root.write(key, join_shard([encode_members(replace(bad, image=bad.image[:-1]))]))
    snapshot = copy_captured(root, "sim-dusk", ROUND)
    assert len(snapshot.held_out if held_out_one else snapshot.labelled) == 1
    (why,) = snapshot.left_out
    assert why.startswith(f"{key}: {bad.metadata.key}")
    root.write(key, b"cut")
    again = copy_captured(root, "sim-dusk", ROUND[::-1])
    assert again.left_out == (f"{key} is no complete shard",)
    lay_out(root, ROUND[::-1], again, tmp_path)
    labels = tmp_path / HELD_OUT_FOLDER / "labels" if held_out_one else tmp_path / ASKED_FOLDER
    assert [path.stem for path in labels.iterdir()] == [sha256_of(good)]
