"""Captured frames on this gateway's disk, between serving and the storage root.

    <spool>/lock                          held by the one process that uses the spool
    <spool>/kept/<domain>/<key>.members   one frame of the present interval each
    <spool>/shards/<domain>/<name>.tar    whole shards that wait for the root

Each appears by rename. A process that is killed leaves whole frames and whole shards, which the next one hands on;
a frame is in no two shards, for the kept ones are deleted before their shard can leave. What a power cut or a failing
disk damaged is deleted here, and never handed on.
"""

import fcntl
import logging
import os
from datetime import UTC, datetime
from pathlib import Path

from exchange.failpoints import failpoint
from exchange.fleet.frames import CapturedFrame, encode_members, join_shard, read_shard
from exchange.storage.locations import FRAMES, ShardName
from exchange.storage.records import RecordError

_log = logging.getLogger(__name__)


class SpoolTaken(Exception):
    """Another process uses the spool; the message says what to do."""


class Spool:
    def __init__(self, folder: Path, gateway: str) -> None:
        self._gateway = gateway
        self._kept = folder / "kept"
        self._shards = folder / "shards"
        for part in (self._kept, self._shards):
            part.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(folder)
        for partial in (*self._kept.rglob("*.partial"), *self._shards.rglob("*.partial")):
            partial.unlink()
        self._remove_frames_in_shards()

    def close(self) -> None:
        os.close(self._lock)

    def keep(self, domain: str, key: str, members: bytes) -> None:
        """Raises OSError where the disk does not take it; nothing is left then."""
        _write(self._kept / domain / f"{key}.members", members)
        failpoint("spool.after-frame")

    def evict(self, domain: str, key: str) -> None:
        (self._kept / domain / f"{key}.members").unlink(missing_ok=True)

    def seal(self) -> None:
        """Makes one shard of each domain's kept frames.

        Raises:
            OSError: the disk does not take it; the frames stay.
        """
        for folder in sorted(self._kept.iterdir()):
            files = sorted(folder.glob("*.members"))
            whole = [members for file in files if _frames(file, join_shard([members := file.read_bytes()]))]
            if whole:
                name = ShardName(folder.name, self._gateway, datetime.now(UTC), len(whole))
                _write(self._path(name), join_shard(whole))
                failpoint("spool.after-shard")
            for file in files:
                file.unlink(missing_ok=True)

    def waiting(self) -> list[Path]:
        """Shards that the root does not have, the oldest first."""
        return sorted(self._shards.rglob("*.tar"), key=lambda path: path.name)

    def read(self, shard: Path) -> bytes | None:
        """None where it is gone, as the oldest of too many or being damaged."""
        try:
            data = shard.read_bytes()
        except FileNotFoundError:
            return None
        return data if _frames(shard, data) else None

    def key_of(self, shard: Path) -> str:
        return f"{FRAMES}/{shard.parent.name}/{self._gateway}/{shard.name}"

    def drop_oldest(self, max_bytes: int) -> int:
        """Deletes whole shards until the others have room; returns the number of frames that were lost."""
        shards = [(path, path.stat().st_size) for path in self.waiting()]
        total_bytes = sum(size for _, size in shards)
        lost = 0
        for path, size in shards:
            if total_bytes <= max_bytes:
                break
            name = ShardName.parse(self.key_of(path))
            lost += 0 if name is None else name.frames
            total_bytes -= size
            path.unlink()
        return lost

    def forget(self, vehicle: str) -> None:
        """Deletes all frames of a vehicle's pseudonym."""
        for path in self._kept.rglob("*.members"):
            if any(frame.metadata.vehicle == vehicle for frame in _frames(path, join_shard([path.read_bytes()]))):
                path.unlink()
        for path in self.waiting():
            frames = _frames(path, path.read_bytes())
            others = [frame for frame in frames if frame.metadata.vehicle != vehicle]
            if not others:
                path.unlink(missing_ok=True)
            elif len(others) < len(frames):
                _write(path, join_shard(map(encode_members, others)))

    def _path(self, name: ShardName) -> Path:
        return self._shards / name.domain / name.key.rpartition("/")[2]

    def _remove_frames_in_shards(self) -> None:
        """Where the last process was killed between writing a shard and deleting what is in it."""
        for shard in self.waiting():
            for frame in _frames(shard, shard.read_bytes()):
                self.evict(shard.parent.name, frame.metadata.key)


def _frames(path: Path, data: bytes) -> list[CapturedFrame]:
    """None of a file that is damaged, which is deleted."""
    try:
        return list(read_shard(data, path.name))
    except RecordError as error:
        _log.error("deleting a damaged file of the spool: %s", error)
        path.unlink(missing_ok=True)
        return []


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all."""
    path.parent.mkdir(exist_ok=True)
    partial = path.with_suffix(".partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def _lock(folder: Path) -> int:
    descriptor = os.open(folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise SpoolTaken(f"another gateway uses {folder}: stop it, or choose another --run-dir") from None
    return descriptor
