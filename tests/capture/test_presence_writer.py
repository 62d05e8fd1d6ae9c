"""Every served frame leaves one row, whatever happens to the root in between."""

import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from exchange.fleet.presence import PresenceReader, PresenceRows
from exchange.fleet.pseudonyms import Pseudonyms
from exchange.storage import StorageRoot, StorageUnavailable, open_root
from server.capture import presence_writer
from server.capture.drives import DriveTracker
from server.capture.presence_writer import PresenceWriter
from tests.capture.served_frames import served

KEY = Pseudonyms(bytes(32))
AN_HOUR_AGO = datetime.now(UTC) - timedelta(hours=1)


def stored(root: StorageRoot, domain: str = "sim-day") -> PresenceRows:
    return PresenceReader(root, domain).rows_since(AN_HOUR_AGO)


def test_each_frame_leaves_its_row(root: StorageRoot) -> None:
    writer = PresenceWriter(root, "gw-a", KEY)
    frames = [served(seed, captured_s=1000.0 + seed, drive="d") for seed in range(5)]
    for frame in frames[:3]:
        writer.add(frame)
    writer.publish()
    assert len(stored(root)) == 3
    for frame in frames[3:]:
        writer.add(frame)
    writer.add(served(9, domain="sim-fog"))
    writer.publish()
    rows = stored(root)
    assert rows.captured_s_N.tolist() == [1000.0 + seed for seed in range(5)]
    assert set(rows.drive_N.tolist()) == {KEY.drive("car-1", "d")}
    assert rows.version_N.tolist() == [1] * 5
    np.testing.assert_array_equal(rows.presence_NK[4], frames[4].answer.presence_K.astype(np.float16))
    np.testing.assert_array_equal(rows.mean_probability_NK[4], frames[4].answer.mean_probability_K.astype(np.float16))
    assert len(stored(root, "sim-fog")) == 1
    assert len(root.list_objects("presence/sim-day")) == 1


def test_a_full_part_is_never_written_again(root: StorageRoot) -> None:
    writer = PresenceWriter(root, "gw-a", KEY)
    one = served(0)
    for _ in range(presence_writer.ROWS_OF_A_PART + 1):
        writer.add(one)
    writer.publish()
    second, first = root.list_objects("presence/sim-day")
    assert second.key.endswith("-1.npz")
    writer.add(one)
    writer.publish()
    assert first in root.list_objects("presence/sim-day")
    assert second not in root.list_objects("presence/sim-day")
    assert len(stored(root)) == presence_writer.ROWS_OF_A_PART + 2


def test_a_gateway_started_anew_goes_on_beside_what_it_left(root: StorageRoot) -> None:
    for seed in range(3):
        writer = PresenceWriter(root, "gw-a", KEY)
        writer.add(served(seed))
        writer.publish()
    assert len(stored(root)) == 3
    assert len(root.list_objects("presence/sim-day")) == 3


def test_what_the_root_did_not_take_arrives_later_and_once(tmp_path: Path) -> None:
    """The folder of the domain is a file for a while."""
    root = open_root(str(tmp_path), patience_s=0.01)
    writer = PresenceWriter(root, "gw-a", KEY)
    writer.add(served(1))
    writer.publish()
    partial = tmp_path / ".partial"
    partial.rename(tmp_path / "elsewhere")
    for seed in (2, 3):
        writer.add(served(seed))
        writer.add(served(seed, domain="sim-fog"))
        with pytest.raises(StorageUnavailable):
            writer.publish()
    (tmp_path / "elsewhere").rename(partial)
    writer.add(served(4))
    writer.publish()
    assert len(stored(root)) == 4
    assert len(stored(root, "sim-fog")) == 2
    assert len(root.list_objects("presence/sim-day")) == 1


def test_a_write_that_arrived_unnoticed_is_not_repeated(root: StorageRoot) -> None:
    """The second of two writers that share everything finds the first one's content there, as after a lost reply."""
    writers = [PresenceWriter(root, "gw-a", KEY) for _ in range(2)]
    frames = [served(seed, captured_s=float(seed)) for seed in range(2)]
    for frame in frames:
        for writer in writers:
            writer.add(frame)
            writer.publish()
    assert len(stored(root)) == 2


def test_rows_beyond_the_bound_are_dropped_and_counted(tmp_path: Path) -> None:
    root = open_root(str(tmp_path), patience_s=0.01)
    writer = PresenceWriter(root, "gw-a", KEY)
    one = served(0)
    started = time.thread_time()
    for _ in range(presence_writer.MAX_WAITING_ROWS + 7):
        writer.add(one)
    assert (time.thread_time() - started) / presence_writer.MAX_WAITING_ROWS < 100e-6
    assert writer.dropped == 7
    writer.publish()
    assert len(stored(root)) == presence_writer.MAX_WAITING_ROWS
    writer.add(one)
    assert writer.dropped == 7


def test_an_erasure_of_the_open_part_is_not_undone(root: StorageRoot) -> None:
    """What somebody took out of a part stays out, and later rows begin the next part."""
    writer = PresenceWriter(root, "gw-a", KEY)
    for vehicle in ("car-1", "car-2"):
        writer.add(served(0, vehicle=vehicle))
    writer.publish()
    (part,) = root.list_objects("presence/sim-day")
    rows = stored(root)
    root.write(part.key, rows[rows.drive_N == rows.drive_N[1]].encode())
    writer.add(served(1, vehicle="car-3"))
    writer.publish()
    assert len(root.list_objects("presence/sim-day")) == 2
    assert {drive.partition("-")[0] for drive in stored(root).drive_N.tolist()} == {
        KEY.vehicle("car-2"),
        KEY.vehicle("car-3"),
    }


def test_a_forgotten_vehicle_is_in_nothing_that_is_written_after(root: StorageRoot) -> None:
    writer = PresenceWriter(root, "gw-a", KEY)
    for round_ in range(2):
        for vehicle in ("car-1", "car-2"):
            writer.add(served(round_, vehicle=vehicle))
        if round_ == 0:
            writer.publish()
    writer.forget(KEY.vehicle("car-1"))
    writer.publish()
    assert {drive.partition("-")[0] for drive in stored(root).drive_N.tolist()} == {KEY.vehicle("car-2")}
    assert len(stored(root)) == 2


def drive_names(times_s: Iterable[int]) -> list[str]:
    tracker = DriveTracker()
    return [tracker.name("car-1", "", "sim-day", float(time_s)) for time_s in times_s]


def test_a_drive_without_a_name_ends_at_a_gap() -> None:
    first, same, still_same, other = drive_names([0, 30, 90, 151])
    assert first == same == still_same != other


def test_a_drive_without_a_name_ends_after_ten_minutes() -> None:
    names = drive_names(range(0, 1300, 50))
    assert [names.count(name) for name in dict.fromkeys(names)] == [13, 13]


def test_a_drive_with_a_name_keeps_it() -> None:
    assert DriveTracker().name("car-1", "given", "sim-day", 0.0) == "given"
