"""The storage that the two halves meet in: one root, `file://` or `s3://`, by the same calls."""

from exchange.storage.objects import (
    ObjectChanged,
    ObjectExists,
    ObjectInfo,
    ObjectMissing,
    StorageError,
    StorageRefused,
    StorageUnavailable,
    StoredObject,
)
from exchange.storage.root import JoinedRoots, StorageRoot, open_known_root, open_root

__all__ = [
    "JoinedRoots",
    "ObjectChanged",
    "ObjectExists",
    "ObjectInfo",
    "ObjectMissing",
    "StorageError",
    "StorageRefused",
    "StorageRoot",
    "StorageUnavailable",
    "StoredObject",
    "open_known_root",
    "open_root",
]
