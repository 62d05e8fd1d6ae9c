"""A root on a disk: objects are files that appear by rename or link, whole and synced.

<root>/.lock       held for the moment in which a content is compared and replaced
<root>/.partial/   files being written; what a killed process left is removed by a later one
"""

import contextlib
import errno
import fcntl
import hashlib
import math
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from exchange.storage.objects import (
    ABSENT,
    Condition,
    IfEtag,
    ObjectChanged,
    ObjectExists,
    ObjectInfo,
    ObjectMissing,
    StorageRefused,
    StorageUnavailable,
    StoredObject,
)

_PARTIAL = ".partial"
_LOCK_PAUSE_S = 0.005
_PARTIAL_IS_LEFT_AFTER_S = 3600.0
_REFUSALS = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.ENXIO,
    errno.EEXIST,
}


class DiskBackend:
    """Safe for any number of processes on one machine, and on a file system with POSIX locks for several machines."""

    def __init__(self, folder: Path, patience_s: float, joined_before: bool = False) -> None:
        self._folder = folder
        self._patience_s = patience_s
        self._partial = folder / _PARTIAL
        with _explained(str(folder)):
            if not joined_before:
                self._partial.mkdir(parents=True, exist_ok=True)
            for left in self._partial.glob("*"):
                with contextlib.suppress(FileNotFoundError):
                    if time.time() - left.stat().st_mtime > _PARTIAL_IS_LEFT_AFTER_S:
                        left.unlink()

    @staticmethod
    def is_root(folder: Path) -> bool:
        """Whether one was made there."""
        return (folder / _PARTIAL).is_dir()

    def get(self, key: str) -> StoredObject:
        with _explained(key):
            try:
                # A pipe that somebody left there is read as empty; nobody waits for its other end.
                with open(self._folder / key, "rb", opener=_open_at_once) as file:
                    data = file.read() or b""
            except (FileNotFoundError, IsADirectoryError):
                self._check_that_the_root_is_there()
                raise ObjectMissing(f"{key} is not in {self._folder}") from None
        return StoredObject(data, _etag(data))

    def head(self, key: str) -> str:
        return self.get(key).etag

    def put(self, key: str, data: bytes, condition: Condition) -> str:
        target = self._folder / key
        with _explained(key):
            with self._written(data) as partial:
                self._make_folder(target.parent)
                if condition == ABSENT:
                    self._link(partial, target, key)
                elif isinstance(condition, IfEtag):
                    with self._locked():
                        self._check(key, condition)
                        partial.rename(target)
                else:
                    with self._locked():
                        partial.rename(target)
            _sync_folder(target.parent)
        return _etag(data)

    def delete(self, key: str) -> None:
        with _explained(key), self._locked():
            (self._folder / key).unlink(missing_ok=True)

    def list_objects(self, folder: str, after: str) -> list[ObjectInfo]:
        found = []
        with _explained(folder):
            for parent, folders, files in os.walk(self._folder / folder):
                folders[:] = [name for name in folders if not name.startswith(".")]
                for name in files:
                    path = Path(parent, name)
                    key = path.relative_to(self._folder).as_posix()
                    if key > after and not name.startswith("."):
                        with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                            found.append(_info(key, path))
            self._check_that_the_root_is_there()
        return sorted(found, key=lambda info: info.key)

    def list_folders(self, folder: str) -> list[str]:
        with _explained(folder):
            try:
                inside = list(os.scandir(self._folder / folder))
            except FileNotFoundError:
                self._check_that_the_root_is_there()
                return []
            return sorted(entry.name for entry in inside if entry.is_dir() and not entry.name.startswith("."))

    def _check_that_the_root_is_there(self) -> None:
        """A root that was moved or unmounted for a while is away, not empty: nothing in it was deleted."""
        if not self._partial.is_dir():
            raise StorageUnavailable(f"{self._folder} is away: mount it again, or bring it back")

    def _make_folder(self, folder: Path) -> None:
        """Make a folder and those between the root and it, but never the root, which may go away at any moment."""
        if folder != self._folder and not folder.is_dir():
            self._make_folder(folder.parent)
            folder.mkdir(exist_ok=True)

    @contextmanager
    def _written(self, data: bytes) -> Iterator[Path]:
        """A synced file outside everyone's sight, gone afterwards unless it was renamed."""
        path = self._partial / uuid.uuid4().hex
        try:
            with path.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield path
        finally:
            path.unlink(missing_ok=True)

    @staticmethod
    def _link(partial: Path, target: Path, key: str) -> None:
        try:
            target.hardlink_to(partial)
        except FileExistsError:
            raise ObjectExists(f"{key} exists") from None

    def _check(self, key: str, condition: IfEtag) -> None:
        try:
            current = self.get(key).etag
        except ObjectMissing:
            current = ABSENT
        if current != condition.etag:
            raise ObjectChanged(f"{key} was changed by somebody else")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        give_up_s = time.monotonic() + self._patience_s
        with (self._folder / ".lock").open("wb") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > give_up_s:
                        raise StorageUnavailable(f"{self._folder}/.lock is held by a process that hangs") from None
                    time.sleep(_LOCK_PAUSE_S)
            yield  # closing the file gives the lock back


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _info(key: str, path: Path) -> ObjectInfo:
    """Raises FileNotFoundError where it is gone."""
    try:
        status = path.stat()
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        return ObjectInfo(key, 0, math.inf)  # it keeps no others from being listed, and is never too old to keep
    return ObjectInfo(key, status.st_size, status.st_mtime)


def _etag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """The operating system's errors as those of a storage."""
    try:
        yield
    except OSError as error:
        kind = StorageRefused if error.errno in _REFUSALS else StorageUnavailable
        raise kind(f"{what}: {error.strerror} ({error.filename})") from error
