"""A storage root as both halves use it: checked keys, retries with a deadline, and writes whose outcome is known."""

import random
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from exchange.storage.disk import DiskBackend
from exchange.storage.objects import (
    ABSENT,
    Backend,
    Condition,
    IfEtag,
    ObjectChanged,
    ObjectExists,
    ObjectInfo,
    ObjectMissing,
    StorageRefused,
    StorageUnavailable,
    StoredObject,
    check_key,
    is_key,
)
from exchange.storage.root_location import RootLocation
from exchange.storage.unreadable_objects import UnreadableObjects

T = TypeVar("T")

PATIENCE_S = 20.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0
_CREATING_ATTEMPTS = 8


class StorageRoot:
    """Objects by key below one root. Every call blocks until it worked, or failed with a `StorageError`.

    Calls may come from several threads.
    """

    def __init__(self, location: RootLocation, backend: Backend, patience_s: float) -> None:
        self.location = location
        self.url = location.url
        self.unreadable = UnreadableObjects()
        """What readers of many objects have skipped."""
        self._backend = backend
        self._patience_s = patience_s

    def read(self, key: str) -> StoredObject:
        """Raises ObjectMissing where there is nothing by this key."""
        return self._retried(lambda: self._backend.get(check_key(key)))

    def read_if_any(self, key: str) -> StoredObject | None:
        try:
            return self.read(key)
        except ObjectMissing:
            return None

    def etag_if_any(self, key: str) -> str | None:
        """Looks at an object without reading it; None where there is none."""
        try:
            return self._retried(lambda: self._backend.head(check_key(key)))
        except ObjectMissing:
            return None

    def write(self, key: str, data: bytes) -> str:
        """Whatever was there before; for keys with one writer. Returns the etag."""
        return self._put(key, data, None)

    def create(self, key: str, data: bytes) -> str:
        """Writes what must be new; returns the etag.

        Where several may create one key, their contents must differ: after a lost reply, the same content there is
        taken for what this call wrote.

        Raises:
            ObjectExists: there is something by this key.
        """
        return self._put(key, data, ABSENT)

    def create_or_read(self, key: str, data: bytes) -> StoredObject:
        """Creates what may be there already; returns what is there then, which may be somebody else's content.

        For whoever goes on as if its own content were stored: that must be compared first.
        """
        for _ in range(_CREATING_ATTEMPTS):
            try:
                return StoredObject(data, self.create(key, data))
            except ObjectExists:
                if (found := self.read_if_any(key)) is not None:
                    return found  # otherwise it was deleted in between
        raise StorageUnavailable(f"{key} comes and goes in {self.url}: try again")

    def replace(self, key: str, data: bytes, etag: str) -> str:
        """Compare-and-swap: writes where the object still has the etag that was read; returns the new one.

        Contents of different writers must differ, as for `create`. After ObjectChanged this call's content may still
        have been there for a moment, where its reply was lost and somebody else wrote next.

        Raises:
            ObjectChanged: somebody else changed or deleted it.
        """
        return self._put(key, data, IfEtag(etag))

    def delete(self, key: str) -> None:
        """Deletes an object, or finds it gone."""
        self._retried(lambda: self._backend.delete(check_key(key)))

    def list_objects(self, folder: str, after: str = "") -> list[ObjectInfo]:
        """All objects below a folder by key, those above the key `after`; foreign names, which are no keys, are noted.

        Hidden files are nobody's, and not told.
        """
        found = self._retried(lambda: self._backend.list_objects(check_key(folder), after))
        if not after:
            self.unreadable.keep_only(folder, (info.key for info in found))
        return [info for info in found if self._is_ours(info.key)]

    def list_folders(self, folder: str) -> list[str]:
        """Names of the folders directly below a folder; one may be empty by now."""
        names = self._retried(lambda: self._backend.list_folders(check_key(folder)))
        return [name for name in names if self._is_ours(f"{folder}/{name}")]

    def _is_ours(self, key: str) -> bool:
        if is_key(key):
            return True
        if "/." not in key:
            self.unreadable.note(key, "no object of this root has such a name: move it away")
        return False

    def check_conditional_writes(self) -> None:
        """Shows that conditions hold here: some stores that speak S3 ignore them, and two learners would both write.

        Raises:
            StorageRefused: they do not hold.
        """
        key = f"checks/{uuid.uuid4().hex}"
        etag = self.create(key, b"first")
        try:
            with self._expected(ObjectExists):
                self.create(key, b"second")
            with self._expected(ObjectChanged):
                self.replace(key, b"third", f"{etag}0")
        finally:
            self.delete(key)

    @contextmanager
    def _expected(self, refusal: type[Exception]) -> Iterator[None]:
        with suppress(refusal):
            yield
            raise StorageRefused(f"{self.url} ignores If-None-Match or If-Match: use a store that keeps to them")

    def _put(self, key: str, data: bytes, condition: Condition) -> str:
        check_key(key)
        a_reply_was_lost = False

        def attempt() -> str:
            nonlocal a_reply_was_lost
            try:
                return self._backend.put(key, data, condition)
            except StorageUnavailable:
                a_reply_was_lost = True
                raise
            except (ObjectExists, ObjectChanged):
                if a_reply_was_lost:
                    with suppress(ObjectMissing):  # somebody deleted it since
                        if (found := self._backend.get(key)).data == data:
                            return found.etag
                raise

        return self._retried(attempt)

    def _retried(self, attempt: Callable[[], T]) -> T:
        """Runs until it works or the patience is over, with growing pauses of random length."""
        give_up_s = time.monotonic() + self._patience_s
        longest_s = _FIRST_PAUSE_S
        while True:
            try:
                return attempt()
            except StorageUnavailable:
                pause_s = random.uniform(0, longest_s)  # noqa: S311 - no secret
                if time.monotonic() + pause_s > give_up_s:
                    raise
            time.sleep(pause_s)
            longest_s = min(_LONGEST_PAUSE_S, 2 * longest_s)


def open_root(url: str, patience_s: float = PATIENCE_S, *, joined_before: bool = False) -> StorageRoot:
    """Opens a root; a `file://` one is created where it is missing, unless it was `joined_before`.

    Args:
        url: file:///folder, a plain path, or s3://bucket/prefix (`RootLocation`).
        patience_s: how long a call may take with its retries; one attempt gets as long, so at most twice this.
        joined_before: where a `file://` root is missing it is away, as an unmounted disk, and not new.

    Raises:
        StorageError: it cannot be opened; the message says what to change.
    """
    location = RootLocation.parse(url)
    if location.folder is not None:
        return StorageRoot(location, DiskBackend(location.folder, patience_s, joined_before), patience_s)
    try:
        from exchange.storage.s3 import S3Backend
    except ImportError:
        raise StorageRefused(f"{url} needs the package obstore: pip install 'roadshift[s3]'") from None
    return StorageRoot(location, S3Backend(location.bucket, location.prefix, patience_s), patience_s)


def open_known_root(url: str, patience_s: float = PATIENCE_S) -> StorageRoot:
    """Opens a root that somebody else has made, for whoever would find nothing in a new one.

    Raises:
        StorageError: it cannot be opened, or a `file://` one is not there; the message says what to change.
    """
    root = open_root(url, patience_s, joined_before=True)
    folder = root.location.folder
    if folder is not None and not DiskBackend.is_root(folder):
        raise StorageRefused(f"there is no storage root at {folder}: look for a slip in it, or mount its disk")
    return root


class JoinedRoots:
    """Which roots the owner of a folder has joined: one URL a line, in a file that outlives the process."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "joined_roots"

    def __contains__(self, url: str) -> bool:
        """Raises StorageRefused where the URL is no root's."""
        location = RootLocation.parse(url)
        return self._file.exists() and any(location.is_meant_by(line) for line in self._file.read_text().splitlines())

    def add(self, url: str) -> None:
        if url not in self:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a") as file:
                file.write(f"{RootLocation.parse(url).url}\n")
