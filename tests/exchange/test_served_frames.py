"""What serving leaves in the root: presence rows, shards, heartbeats, pseudonyms; read back, or refused by name."""

import io
import stat
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from webdataset.tariterators import group_by_keys, tar_file_expander

from exchange.fleet.frames import CapturedFrame, FrameMetadata, encode_members, join_shard, read_shard
from exchange.fleet.gateways import Heartbeat, VersionHealth, read_heartbeats, write_heartbeat
from exchange.fleet.presence import PresenceReader, PresenceRow, PresenceRows, domains_with_presence
from exchange.fleet.pseudonyms import PseudonymKeyError, Pseudonyms, vehicle_of_drive
from exchange.images.labels import encode_gray_png, encode_palette_png
from exchange.storage import StorageRoot
from exchange.storage.locations import ShardName, presence_hour, presence_key
from exchange.storage.records import RecordError

NINE = datetime(2026, 11, 23, 9, tzinfo=UTC)


def rows(count: int, start_s: float, drive: str = "car-1") -> PresenceRows:
    """Rows whose time is also their first class's presence."""
    return PresenceRows.of(
        [
            PresenceRow(start_s + index, drive, 3, np.full(19, index / 100, np.float32), np.eye(19)[index % 19], 0.75)
            for index in range(count)
        ]
    )


def test_presence_rows_read_back_as_float16() -> None:
    written = PresenceRows.joined([rows(3, 1e9, "a-1"), rows(2, 2e9, "b-2")])
    read = PresenceRows.decode(written.encode(), "key")
    assert read.drive_N.tolist() == ["a-1"] * 3 + ["b-2"] * 2
    assert read.captured_s_N.tolist() == written.captured_s_N.tolist()
    assert read.presence_NK.dtype == np.float16
    for name in ("version_N", "presence_NK", "mean_probability_NK", "mean_confidence_N"):
        np.testing.assert_array_equal(getattr(read, name), getattr(written, name))
    assert len(PresenceRows.decode(PresenceRows.of([]).encode(), "key")) == 0


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", rows(3, 0).encode()[:300], b"\x00" * 1000])
def test_a_damaged_presence_part_is_named(data: bytes) -> None:
    with pytest.raises(RecordError, match=r"presence/x/y/1\.npz"):
        PresenceRows.decode(data, "presence/x/y/1.npz")


def test_the_reader_sees_all_gateways_from_an_hour_on(root: StorageRoot) -> None:
    reader = PresenceReader(root, "sim-day")
    assert len(reader.rows_since(NINE)) == 0
    times = {("gw-a", 8, 0): 1, ("gw-a", 9, 0): 2, ("gw-a", 9, 1): 3, ("gw-b", 10, 0): 4}
    for (gateway, hour, part), start_s in times.items():
        key = presence_key("sim-day", gateway, NINE.replace(hour=hour), part)
        assert presence_hour(key).hour == hour
        root.write(key, rows(2, 10.0 * start_s).encode())
    root.write(presence_key("sim-day-2", "gw-a", NINE, 0), rows(9, 0).encode())
    assert reader.rows_since(NINE).captured_s_N.tolist() == [20, 21, 30, 31, 40, 41]
    # A part that grew is read again, one that is gone is not missed.
    root.write(presence_key("sim-day", "gw-b", NINE.replace(hour=10), 0), rows(300, 40.0).encode())
    root.delete(presence_key("sim-day", "gw-a", NINE, 1))
    assert reader.rows_since(NINE).captured_s_N.tolist() == [20, 21, *range(40, 340)]
    assert len(reader.rows_since(NINE + timedelta(hours=1))) == 300
    assert domains_with_presence(root) == ["sim-day", "sim-day-2"]


def captured(key: str, image: bytes = b"\xff\xd8 jpeg") -> CapturedFrame:
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    zeros = (0.0,) * 19
    metadata = FrameMetadata(
        key=key,
        domain="sim-day",
        gateway="gw-a",
        vehicle="v",
        drive="v-1",
        captured_at=NINE,
        model_version=3,
        prior_id="none",
        image="jpg",
        size_hw=(3, 4),
        mean_confidence=0.5,
        class_fractions=zeros,
        presence=zeros,
        mean_probability=zeros,
        kept_for="uniform",
    )
    return CapturedFrame(metadata, image, encode_palette_png(labels), encode_gray_png(labels))


def test_a_shard_reads_back_here_and_by_webdataset() -> None:
    frames = [captured("a-1"), captured("b-2", b"x" * 1024), captured("c-3", b"")]
    data = join_shard(map(encode_members, frames))
    assert list(read_shard(data, "shard")) == frames
    files = tar_file_expander([{"url": "000000.tar", "stream": io.BytesIO(data)}])
    samples = list(group_by_keys(files))
    assert [sample["__key__"] for sample in samples] == ["a-1", "b-2", "c-3"]
    assert samples[1]["jpg"] == b"x" * 1024
    assert samples[1]["labels.png"] == frames[1].labels_png
    assert FrameMetadata.decode(samples[2]["json"], "sample") == frames[2].metadata


def test_a_shard_that_is_cut_off_anywhere_is_refused() -> None:
    data = join_shard([encode_members(captured("a-1")), encode_members(captured("b-2"))])
    for length in range(0, len(data), 512):
        with pytest.raises(RecordError, match="shard"):
            list(read_shard(data[:length], "shard"))
    second_header = data.index(b"a-1.labels.png")
    damaged = data[:second_header] + b"b" + data[second_header + 1 :]
    with pytest.raises(RecordError, match="shard is no complete shard: it is damaged at byte 1024"):
        list(read_shard(damaged, "shard"))


def test_a_frame_without_one_of_its_members_is_named() -> None:
    frame = captured("a-1")
    with io.BytesIO() as file:
        with tarfile.open(fileobj=file, mode="w") as tar:
            info = tarfile.TarInfo("a-1.json")
            info.size = len(frame.metadata.encode())
            tar.addfile(info, io.BytesIO(frame.metadata.encode()))
        size = 512 + -(-info.size // 512) * 512
        data = join_shard([file.getvalue()[:size]])
    with pytest.raises(RecordError, match=r"shard:a-1 lacks its jpg"):
        list(read_shard(data, "shard"))


def test_a_shards_name_says_when_and_how_many() -> None:
    name = ShardName("sim-day", "gw-1.example", datetime(2026, 11, 23, 9, 5, 7, 123, tzinfo=UTC), 64)
    assert name.key == "frames/sim-day/gw-1.example/20261123T090507.000123Z-64.tar"
    assert ShardName.parse(name.key) == name
    assert ShardName.parse("frames/sim-day/gw-1/else.tar") is None


def test_heartbeats_are_read_by_name(root: StorageRoot) -> None:
    health = VersionHealth(loaded=True, last_success=NINE, requests=10, errors=1, p50_s=0.1, p99_s=None)
    for gateway in ("gw-b", "gw-a", "gw-a"):
        heartbeat = Heartbeat(
            gateway=gateway,
            started_at=NINE,
            written_at=NINE,
            plan_revision=7,
            versions={2: health},
            free_bytes=1 << 40,
            presence_dropped=0,
            capture_dropped=3,
            erasures_applied=0,
        )
        write_heartbeat(root, heartbeat)
    assert [found.gateway for found in read_heartbeats(root)] == ["gw-a", "gw-b"]
    assert read_heartbeats(root)[1] == heartbeat.model_copy(update={"gateway": "gw-b"})
    root.write("gateways/gw-a.json", b"{")
    assert [found.gateway for found in read_heartbeats(root)] == ["gw-b"]
    (line,) = root.unreadable.lines()
    assert line.startswith("gateways/gw-a.json is no Heartbeat")


def test_pseudonyms_are_stable_under_one_key_and_tell_nothing_under_another(tmp_path: Path) -> None:
    first = Pseudonyms.from_file(tmp_path / "keys" / "key", create=True)
    again = Pseudonyms.from_file(tmp_path / "keys" / "key", create=True)
    other = Pseudonyms.from_file(tmp_path / "other", create=True)
    assert stat.S_IMODE((tmp_path / "keys" / "key").stat().st_mode) == 0o600
    assert first.vehicle("car-17") == again.vehicle("car-17") != other.vehicle("car-17")
    assert first.vehicle("car-17") != first.vehicle("car-18")
    assert first.drive("car-17", "a") != first.drive("car-17", "b")
    assert vehicle_of_drive(first.drive("car-17", "a")) == first.vehicle("car-17")
    assert first.drive("a", "b\0c") != first.drive("a\0b", "c") or first.vehicle("a") != first.vehicle("a\0b")


@pytest.mark.parametrize("content", [None, "", "abcd", "not hexadecimal"])
def test_a_key_file_that_is_none_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "key").write_text(content)
    with pytest.raises(PseudonymKeyError, match="key"):
        Pseudonyms.from_file(tmp_path / "key")
