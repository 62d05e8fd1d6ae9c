"""One vehicle's frames and rows go; everyone else's stay to the byte."""

from datetime import UTC, datetime

import numpy as np

from exchange.erasing import Erased, erase_stored
from exchange.fleet.erasures import ErasureReader, request_erasure
from exchange.fleet.frames import CapturedFrame, FrameMetadata, encode_members, join_shard, read_shard
from exchange.fleet.presence import PresenceRow, PresenceRows
from exchange.storage import StorageRoot
from exchange.storage.locations import ShardName, presence_key

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
ZEROS = (0.0,) * 19


def frame(key: str, vehicle: str) -> CapturedFrame:
    metadata = FrameMetadata(
        key=key,
        domain="sim-day",
        gateway="gw-a",
        vehicle=vehicle,
        drive=f"{vehicle}-d",
        captured_at=NOW,
        model_version=1,
        prior_id="none",
        image="jpg",
        size_hw=(1, 1),
        mean_confidence=1.0,
        class_fractions=ZEROS,
        presence=ZEROS,
        mean_probability=ZEROS,
        kept_for="uniform",
    )
    return CapturedFrame(metadata, key.encode(), b"labels", b"confidence")


def row(vehicle: str) -> PresenceRow:
    return PresenceRow(NOW.timestamp(), f"{vehicle}-d", 1, np.ones(19, np.float32), np.ones(19, np.float32), 0.5)


def test_a_vehicle_is_erased_and_others_are_kept_to_the_byte(root: StorageRoot) -> None:
    mixed, without = ShardName("sim-day", "gw-a", NOW, 3).key, ShardName("sim-fog", "gw-a", NOW, 1).key
    root.write(
        mixed, join_shard(encode_members(frame(key, vehicle)) for key, vehicle in (("a", "x"), ("b", "x"), ("a2", "y")))
    )
    untouched = root.write(without, join_shard([encode_members(frame("c", "y"))]))
    rows = presence_key("sim-day", "gw-a", NOW, 0)
    root.write(rows, PresenceRows.of([row("x"), row("y"), row("x")]).encode())
    assert erase_stored(root, "x") == Erased(frames=2, presence_rows=2)
    assert list(read_shard(root.read(mixed).data, mixed)) == [frame("a2", "y")]
    assert root.read(without).etag == untouched
    assert PresenceRows.decode(root.read(rows).data, rows).drive_N.tolist() == ["y-d"]
    assert erase_stored(root, "x") == Erased(frames=0, presence_rows=0)
    assert erase_stored(root, "y") == Erased(frames=2, presence_rows=1)
    assert list(read_shard(root.read(mixed).data, mixed)) == []


def test_gateways_hear_of_each_erasure_once(root: StorageRoot) -> None:
    reader = ErasureReader(root)
    assert reader.unseen() == []
    assert request_erasure(root, "a1") == 1
    assert request_erasure(root, "b2") == 2
    assert reader.unseen() == ["a1", "b2"]
    assert request_erasure(root, "a1") == 3
    assert reader.unseen() == ["a1"]
    assert reader.unseen() == []
