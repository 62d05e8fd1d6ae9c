"""From served frames to shards in the root: bounded, without near-duplicates, and whole after kill -9."""

import io
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from exchange.fleet.frames import CapturedFrame, read_shard
from exchange.fleet.pseudonyms import Pseudonyms
from exchange.images.labels import decode_index_png
from exchange.registry.retention import Retention, trim_frames, trim_presence
from exchange.storage import StorageRoot, open_root
from exchange.storage.locations import ShardName
from server.capture import capture_writer
from server.capture.capture_writer import CaptureWriter
from server.capture.sampling import SLOTS
from server.capture.shard_uploader import ShardUploader
from server.capture.spool import Spool, SpoolTaken
from tests.capture.served_frames import served

KEY = Pseudonyms(bytes(32))


def stored(root: StorageRoot) -> list[CapturedFrame]:
    """Every frame in the root; each shard has as many as its name says."""
    found = []
    for info in root.list_objects("frames"):
        name = ShardName.parse(info.key)
        assert name is not None
        frames = list(read_shard(root.read(info.key).data, info.key))
        assert len(frames) == name.frames
        found += frames
    return found


def test_captured_frames_arrive_as_they_were_answered(root: StorageRoot, tmp_path: Path) -> None:
    spool = Spool(tmp_path, "gw-a")
    writer = CaptureWriter(spool, "gw-a", KEY, interval_s=3600)
    frames = {domain: served(seed, domain=domain) for seed, domain in enumerate(("sim-day", "sim-fog"))}
    for frame in frames.values():
        writer.add(frame)
    writer.look()
    assert stored(root) == []
    writer.seal()
    ShardUploader(root, spool, Retention()).upload()
    assert spool.waiting() == []
    assert [folder.split("/")[1] for folder in (info.key for info in root.list_objects("frames"))] == list(frames)
    for found in stored(root):
        frame = frames[found.metadata.domain]
        assert found.image == frame.request.frame.data
        np.testing.assert_array_equal(decode_index_png(found.labels_png), frame.output.labels_HW)
        np.testing.assert_array_equal(decode_index_png(found.confidence_png), frame.output.confidence_HW)
        assert Image.open(io.BytesIO(found.labels_png)).mode == "P"
        assert found.metadata.vehicle == KEY.vehicle("car-1")
        assert found.metadata.drive.startswith(found.metadata.vehicle + "-")
        assert found.metadata.presence == tuple(frame.answer.presence_K.tolist())
        assert (found.metadata.image, found.metadata.kept_for) == ("rgb", "uniform")


def test_an_interval_leaves_a_bounded_shard(root: StorageRoot, tmp_path: Path) -> None:
    spool = Spool(tmp_path, "gw-a")
    writer = CaptureWriter(spool, "gw-a", KEY, interval_s=3600)
    for seed in range(3 * SLOTS):
        writer.add(served(seed, confidence=0.5))
        writer.look()
    writer.seal()
    writer.seal()
    ShardUploader(root, spool, Retention()).upload()
    frames = stored(root)
    assert len(root.list_objects("frames")) == 1
    assert SLOTS - 4 <= len(frames) <= SLOTS
    assert {frame.metadata.kept_for for frame in frames} >= {"uniform", "low confidence"}
    assert not any((tmp_path / "kept").rglob("*.*"))


def test_near_duplicates_of_a_drive_are_not_kept(tmp_path: Path) -> None:
    writer = CaptureWriter(Spool(tmp_path, "gw-a"), "gw-a", KEY, interval_s=3600)
    for seed, vehicle in ((1, "car-1"), (1, "car-1"), (1, "car-2"), (2, "car-1"), (1, "car-1")):
        writer.add(served(seed, vehicle=vehicle))
    writer.look()
    assert writer.near_duplicates == 1
    assert len(list((tmp_path / "kept").rglob("*.members"))) == 4


def test_frames_beyond_the_queues_bounds_are_dropped_and_counted(tmp_path: Path) -> None:
    writer = CaptureWriter(Spool(tmp_path, "gw-a"), "gw-a", KEY, interval_s=3600)
    one = served(0)
    started = time.thread_time()
    for _ in range(capture_writer.MAX_WAITING_FRAMES + 1000):
        writer.add(one)
    assert (time.thread_time() - started) / 1000 < 100e-6
    assert writer.dropped == 1000


@pytest.mark.parametrize("kept_bytes", [0, 1000, 1536])
@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("part", ["*.members", "*.tar"])
def test_what_was_damaged_in_the_spool_never_reaches_the_root(
    root: StorageRoot, tmp_path: Path, part: str, restarted: bool, kept_bytes: int
) -> None:
    spool = Spool(tmp_path, "gw-a")
    for number, (domain, seed) in enumerate((("sim-day", 0), ("sim-day", 1), ("sim-fog", 2))):
        writer = CaptureWriter(spool, "gw-a", KEY, interval_s=3600)
        writer.add(served(seed, domain=domain, drive=str(number)))
        writer.look()
    if part == "*.tar":
        spool.seal()
    damaged = sorted(tmp_path.rglob(part))[0]
    with damaged.open("r+b") as file:
        file.truncate(kept_bytes)
    if restarted:
        spool.close()
        spool = Spool(tmp_path, "gw-a")
    spool.seal()
    ShardUploader(root, spool, Retention()).upload()
    left = {"*.members": ["sim-day", "sim-fog"], "*.tar": ["sim-fog"]}[part]
    assert [found.metadata.domain for found in stored(root)] == left
    assert not list(tmp_path.rglob("*.members"))
    assert spool.waiting() == []


def test_a_spool_without_a_root_keeps_the_newest_shards(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "gw-a")
    writer = CaptureWriter(spool, "gw-a", KEY, interval_s=3600)
    for seed in range(3):
        writer.add(served(seed))
        writer.look()
        writer.seal()
    oldest, *newest = spool.waiting()
    assert spool.drop_oldest(sum(path.stat().st_size for path in newest)) == 1
    assert spool.waiting() == newest
    assert not oldest.exists()


def test_one_spool_has_one_gateway(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "gw-a")
    with pytest.raises(SpoolTaken, match="another gateway uses"):
        Spool(tmp_path, "gw-a")
    spool.close()
    Spool(tmp_path, "gw-a").close()


def test_a_forgotten_vehicle_leaves_the_spool(root: StorageRoot, tmp_path: Path) -> None:
    spool = Spool(tmp_path, "gw-a")
    writer = CaptureWriter(spool, "gw-a", KEY, interval_s=3600)
    for seed in range(8):
        writer.add(served(seed, vehicle=f"car-{seed % 2}"))
        if seed == 5:
            writer.look()
            writer.seal()
    writer.forget(KEY.vehicle("car-0"))
    writer.seal()
    ShardUploader(root, spool, Retention()).upload()
    found = [frame for info in root.list_objects("frames") for frame in read_shard(root.read(info.key).data, info.key)]
    assert [frame.metadata.vehicle for frame in found] == [KEY.vehicle("car-1")] * 4


def test_whole_shards_go_by_frames_bytes_and_age(root: StorageRoot) -> None:
    now = datetime(2026, 11, 23, tzinfo=UTC)
    names = [ShardName("sim-day", f"gw-{index % 2}", now - timedelta(hours=index), frames=10) for index in range(6)]
    for name in names:
        root.write(name.key, bytes(100))
    root.write("presence/sim-day/gw-1/20261120T00.npz", b"")
    root.write("presence/sim-day/gw-1/20261122T23-3.npz", b"")

    def left(retention: Retention) -> int:
        trim_frames(root, retention, now)
        return len(root.list_objects("frames"))

    assert left(Retention()) == 6
    assert left(Retention(frames=50)) == 5
    assert left(Retention(frames_bytes=400)) == 4
    assert left(Retention(frames_age=timedelta(hours=2))) == 3
    assert {info.key for info in root.list_objects("frames")} == {name.key for name in names[:3]}
    trim_presence(root, Retention(), now)
    assert len(root.list_objects("presence")) == 2
    trim_presence(root, Retention(presence_age=timedelta(days=2)), now)
    assert [info.key for info in root.list_objects("presence")] == ["presence/sim-day/gw-1/20261122T23-3.npz"]


CAPTURES = """
import sys
from pathlib import Path
from exchange.fleet.pseudonyms import Pseudonyms
from exchange.registry.retention import Retention
from exchange.storage import open_root
from server.capture.capture_writer import CaptureWriter
from server.capture.shard_uploader import ShardUploader
from server.capture.spool import Spool
from tests.capture.served_frames import served

spool = Spool(Path(sys.argv[1]), "gw-a")
writer = CaptureWriter(spool, "gw-a", Pseudonyms(bytes(32)), interval_s=3600)
uploader = ShardUploader(open_root(sys.argv[2]), spool, Retention())
for seed in range(int(sys.argv[3]), int(sys.argv[4])):
    writer.add(served(seed, drive=str(seed)))
    writer.look()
    print(seed, flush=True)
    if seed % 3 == 2:
        writer.seal()
        uploader.upload()
writer.seal()
uploader.upload()
"""


def test_kill_9_at_any_moment_loses_and_doubles_no_kept_frame(tmp_path: Path) -> None:
    """Processes that keep every frame are killed one after the other, each a little later after a frame; in the end
    each frame that was ever kept is in the root once, and whatever is there is whole."""
    spool, root_dir = tmp_path / "spool", tmp_path / "root"
    kept: set[int] = set()
    begin = 0
    for kill_after in range(5):
        command = [sys.executable, "-c", CAPTURES, str(spool), str(root_dir), str(begin), str(begin + 1000)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            printed = [int(process.stdout.readline()) for _ in range(3)]
            time.sleep(0.002 * kill_after)  # anywhere in the seal and the upload that follow
            process.kill()
            printed += [int(line) for line in process.stdout if line.endswith("\n")]
        kept.update(printed)
        begin += 1000
    last = [sys.executable, "-c", CAPTURES, str(spool), str(root_dir), str(begin), str(begin + 3)]
    printed = subprocess.run(last, check=True, capture_output=True, text=True).stdout.split()
    kept.update(map(int, printed))
    root = open_root(str(root_dir))
    drives = [frame.metadata.drive for frame in stored(root)]
    assert len(drives) == len(set(drives))
    assert {KEY.drive("car-1", str(seed)) for seed in kept} <= set(drives)
    assert not any(spool.rglob("*.tar"))
    assert not any(spool.rglob("*.members"))
    assert not any(spool.rglob("*.partial"))
