"""A shard leaves the spool when the root has its content, and for no other reason."""

from collections.abc import Callable
from pathlib import Path

import pytest

from exchange.erasing import erase_stored
from exchange.fleet.pseudonyms import Pseudonyms
from exchange.registry.retention import Retention
from exchange.storage import StorageRoot, StorageUnavailable, open_root
from server.capture.capture_writer import CaptureWriter
from server.capture.shard_uploader import ShardUploader
from server.capture.spool import Spool
from tests.capture.served_frames import served
from tests.faulty_s3 import Fault, FaultyS3

KEY = Pseudonyms(bytes(32))


def capture(spool: Spool, *vehicles: str) -> Path:
    """The path of a new shard with a frame of each vehicle."""
    before = spool.waiting()
    writer = CaptureWriter(spool, "gw-a", KEY, interval_s=3600)
    for vehicle in vehicles:
        writer.add(served(len(vehicle), vehicle=vehicle))
    writer.look()
    writer.seal()
    (shard,) = set(spool.waiting()) - set(before)
    return shard


def shards_in(root: StorageRoot) -> dict[str, bytes]:
    return {info.key: root.read(info.key).data for info in root.list_objects("frames")}


def test_a_shard_whose_write_met_another_one_is_uploaded(
    faulty_s3: FaultyS3, faulty_root: StorageRoot, tmp_path: Path
) -> None:
    spool = Spool(tmp_path, "gw-a")
    shard = capture(spool, "car-1")
    expected = {spool.key_of(shard): shard.read_bytes()}
    faulty_s3.plan("conflict", "conflict", path="/frames/")
    ShardUploader(faulty_root, spool, Retention()).upload()
    assert faulty_s3.met == ["conflict", "conflict"]
    assert shards_in(faulty_root) == expected
    assert spool.waiting() == []


def test_a_shard_stays_while_its_writes_meet_others_and_is_known_once_it_arrived(
    faulty_s3: FaultyS3, faulty_root: StorageRoot, tmp_path: Path
) -> None:
    """First nothing is written, and then all is written without a reply, until patience is over."""
    spool = Spool(tmp_path, "gw-a")
    shard = capture(spool, "car-1")
    expected = {spool.key_of(shard): shard.read_bytes()}
    uploader = ShardUploader(open_root(faulty_root.url, patience_s=0.3), spool, Retention())
    faults: tuple[Fault, ...] = ("conflict", "lost")
    for fault in faults:
        faulty_s3.plan(*[fault] * 100, path="/frames/")
        with pytest.raises(StorageUnavailable):
            uploader.upload()
        assert spool.waiting() == [shard]
    faulty_s3.plan()
    uploader.upload()
    assert shards_in(faulty_root) == expected
    assert (spool.waiting(), uploader.conflicts) == ([], 0)


def change_in_root(root: StorageRoot, key: str, _: Path) -> None:
    root.write(key, b"yet another")


def delete_in_root(root: StorageRoot, key: str, _: Path) -> None:
    root.delete(key)


def bring_to_root(root: StorageRoot, key: str, shard: Path) -> None:
    root.write(key, shard.read_bytes())


@pytest.mark.parametrize(
    ("then", "is_uploaded"), [(change_in_root, False), (delete_in_root, True), (bring_to_root, True)]
)
def test_a_shard_whose_name_has_another_content_stays_and_is_told_once(
    root: StorageRoot,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    then: Callable[[StorageRoot, str, Path], None],
    is_uploaded: bool,
) -> None:
    spool = Spool(tmp_path, "gw-a")
    taken, other = capture(spool, "car-1"), capture(spool, "car-2")
    key, content, keys = spool.key_of(taken), taken.read_bytes(), [spool.key_of(shard) for shard in (taken, other)]
    root.write(key, b"another content")
    uploader = ShardUploader(root, spool, Retention())
    for _ in range(2):
        uploader.upload()
        assert spool.waiting() == [taken]
        assert list(shards_in(root)) == keys
        assert shards_in(root)[key] == b"another content"
    then(root, key, taken)
    uploader.upload()
    assert (spool.waiting() == []) == (shards_in(root)[key] == content) == is_uploaded
    assert uploader.conflicts == 1
    assert capsys.readouterr().err.count(f"{root.url}/{key} has another content") == 1


def test_a_shard_that_was_uploaded_and_then_erased_from_is_no_conflict(root: StorageRoot, tmp_path: Path) -> None:
    """As where a gateway was killed between the upload and the deletion, and came back after the erasure."""
    spool = Spool(tmp_path, "gw-a")
    shard = capture(spool, "car-1", "lorry-22")
    root.create(spool.key_of(shard), shard.read_bytes())
    erase_stored(root, KEY.vehicle("car-1"))
    spool.forget(KEY.vehicle("car-1"))
    uploader = ShardUploader(root, spool, Retention())
    uploader.upload()
    assert (spool.waiting(), uploader.conflicts) == ([], 0)
