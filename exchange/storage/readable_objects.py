"""Readers of many objects: one that is damaged, foreign or newer is noted and skipped, and keeps none of the others.

What must be whole is not read so: the serving plan, the ledger, a release's manifest, the lease.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from exchange.storage import ObjectInfo, ObjectMissing, StorageRefused, StorageRoot
from exchange.storage.locations import DomainName
from exchange.storage.records import RecordError, RecordType

T = TypeVar("T")
UNREADABLE = (RecordError, StorageRefused)
"""Raised for one object. A root that does not answer is StorageUnavailable, and nobody goes on without it."""
_DOMAIN: TypeAdapter[str] = TypeAdapter(DomainName)


def read_readable(root: StorageRoot, key: str, decode: Callable[[bytes, str], T]) -> T | None:
    """Return what an object holds; None where it is gone, or cannot be read and is noted.

    Raises:
        StorageError: the root does not answer.
    """
    try:
        found = decode(root.read(key).data, key)
    except ObjectMissing:
        root.unreadable.forget(key)
        return None
    except UNREADABLE as error:
        root.unreadable.note(key, error)
        return None
    root.unreadable.forget(key)
    return found


def read_each(
    root: StorageRoot, infos: Iterable[ObjectInfo], decode: Callable[[bytes, str], T]
) -> Iterator[tuple[ObjectInfo, T]]:
    """Yield listed objects with what they hold, those left out that `read_readable` returns None for."""
    for info in infos:
        found = read_readable(root, info.key, decode)
        if found is not None:
            yield info, found


def at_its_key(kind: type[RecordType], key_of: Callable[[RecordType], str]) -> Callable[[bytes, str], RecordType]:
    """Return a decoder that refuses copies, such as backups beside a record: they would count twice."""

    def decode(data: bytes, key: str) -> RecordType:
        record = kind.decode(data, key)
        if key_of(record) != key:
            raise RecordError(f"{key} holds what belongs at {key_of(record)}: move it out of the root")
        return record

    return decode


def domain_folders(root: StorageRoot, folder: str) -> list[str]:
    """Return the domains that have a folder below this one; others' folders are noted.

    Raises:
        StorageError: the root does not answer.
    """
    domains = []
    for name in root.list_folders(folder):
        try:
            domains.append(_DOMAIN.validate_python(name))
        except ValidationError:
            root.unreadable.note(f"{folder}/{name}", f"{folder}/{name} is no domain's folder: move it out of the root")
    return domains
