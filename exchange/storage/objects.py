"""What a storage root holds, and how its calls fail.

StorageError
├── ObjectMissing       there is nothing by this key
├── ObjectExists        creating found something there
├── ObjectChanged       replacing found another content than the one that was read
├── StorageUnavailable  it did not work in the time there was; it may work later
└── StorageRefused      it will not work until somebody changes something; the message says what
"""

import re
from dataclasses import dataclass
from typing import Final, Literal, Protocol

ABSENT: Final = "absent"
_SEGMENT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")


class StorageError(Exception):
    """The root; never raised itself."""


class ObjectMissing(StorageError):
    pass


class ObjectExists(StorageError):
    pass


class ObjectChanged(StorageError):
    pass


class StorageUnavailable(StorageError):
    pass


class StorageRefused(StorageError):
    pass


@dataclass(frozen=True)
class StoredObject:
    data: bytes
    etag: str
    """Differs when the content does."""


@dataclass(frozen=True)
class ObjectInfo:
    key: str
    size_bytes: int
    modified_s: float
    """By the storage's own clock; on S3 in whole seconds."""


@dataclass(frozen=True)
class IfEtag:
    """Only where the object still has this etag."""

    etag: str


Condition = IfEtag | Literal["absent"] | None
"""What must hold for a write: the etag, that there is nothing yet, or anything."""


class Backend(Protocol):
    """One attempt each. Keys are relative to the root; whatever is visible is whole."""

    def get(self, key: str) -> StoredObject: ...

    def head(self, key: str) -> str:
        """Returns the etag. Raises ObjectMissing."""

    def put(self, key: str, data: bytes, condition: Condition) -> str:
        """Returns the new etag.

        Raises:
            ObjectExists, ObjectChanged: the condition does not hold: there was something, or something else.
            StorageUnavailable: it may have been written or not; also where it met another write and was not.
        """

    def delete(self, key: str) -> None:
        """Deletes an object, or finds it gone."""

    def list_objects(self, folder: str, after: str) -> list[ObjectInfo]:
        """All objects below a folder with keys above `after`, by key."""

    def list_folders(self, folder: str) -> list[str]:
        """Names of the folders directly below a folder."""


def is_key(key: str) -> bool:
    """Whether `check_key` takes it."""
    return all(_SEGMENT.fullmatch(segment) for segment in key.split("/"))


def check_key(key: str) -> str:
    """Returns a key that means the same on every storage, and never leaves the root.

    Raises:
        ValueError: some segment is empty, starts with a dot, or has other characters than letters, digits, '._-'.
    """
    if not is_key(key):
        raise ValueError(f"{key[:200]!r} is no storage key: use segments of letters, digits, '.', '_' and '-'")
    return key
