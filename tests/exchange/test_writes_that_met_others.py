"""Erasures and regions on a store that answers 409: they go on, and never as if something had been written."""

import pytest

from exchange.erasing import Erased, erase_stored
from exchange.fleet.frames import encode_members, join_shard, read_shard
from exchange.regions.batches import create_batch, keep_frame, read_batches, read_frame
from exchange.regions.tasks import RegionBatch
from exchange.storage import ObjectExists, StorageRoot
from exchange.storage.locations import ShardName, region_batch_key, region_frame_key
from exchange.storage.records import RecordError
from tests.annotation.asked_regions import BEGIN, asked_frame, leave_batch, sha256_of
from tests.faulty_s3 import FaultyS3


def test_an_erasure_goes_on(faulty_s3: FaultyS3, faulty_root: StorageRoot) -> None:
    frames = [asked_frame(0, vehicle="x"), asked_frame(1, vehicle="y")]
    key = ShardName("sim-dusk", "gw-a", BEGIN, 2).key
    faulty_root.write(key, join_shard(map(encode_members, frames)))
    faulty_s3.plan("conflict", path="/frames/")
    assert erase_stored(faulty_root, "x") == Erased(frames=1, presence_rows=0)
    assert faulty_s3.met == ["conflict"]
    assert list(read_shard(faulty_root.read(key).data, key)) == frames[1:]


def test_a_batch_and_its_frames_are_there_afterwards(faulty_s3: FaultyS3, faulty_root: StorageRoot) -> None:
    faulty_s3.plan("conflict", "lost", "conflict", path="/regions/")
    frame = asked_frame(0)
    batch = leave_batch(faulty_root, [frame])
    assert faulty_s3.met == ["conflict", "lost", "conflict"]
    assert read_batches(faulty_root, "sim-dusk") == [batch]
    assert read_frame(faulty_root, "sim-dusk", batch.tasks[0]) == frame


def test_the_same_order_is_left_once_and_another_ones_id_is_not_taken_for_it(root: StorageRoot) -> None:
    batch = leave_batch(root, [asked_frame(0)])
    create_batch(root, batch.model_copy(update={"phase": "picking", "tasks": ()}))
    assert read_batches(root, "sim-dusk") == [batch]
    for change in ({"asked_by": "ben@desk"}, {"clicks": 1}, {"random_seed": 3}):
        with pytest.raises(ObjectExists, match="is another order, of anna@desk: ask again"):
            create_batch(root, batch.model_copy(update=change))
    assert read_batches(root, "sim-dusk") == [batch]


def test_a_batch_that_is_no_batch_is_not_taken_for_the_order(root: StorageRoot) -> None:
    batch = RegionBatch(id="20261123T090000Z-000001", domain="sim-dusk", asked_by="anna", asked_at=BEGIN, clicks=1)
    root.write(region_batch_key("sim-dusk", batch.id), b"something else")
    with pytest.raises(RecordError):
        create_batch(root, batch)


def test_a_frame_is_kept_once_and_something_else_is_not_taken_for_it(root: StorageRoot) -> None:
    frame, same_image = asked_frame(0), asked_frame(0, vehicle="v2")
    key = region_frame_key("sim-dusk", sha256_of(frame), 1)
    for each in (frame, frame, same_image):
        keep_frame(root, "sim-dusk", sha256_of(frame), each)
        assert list(read_shard(root.read(key).data, key)) == [frame]
    for other in ([asked_frame(1)], [asked_frame(0, version=2)], []):
        root.write(key, join_shard(map(encode_members, other)))
        with pytest.raises(RecordError, match="is not the frame of its name"):
            keep_frame(root, "sim-dusk", sha256_of(frame), frame)
    root.write(key, b"something else")
    with pytest.raises(RecordError):
        keep_frame(root, "sim-dusk", sha256_of(frame), frame)
