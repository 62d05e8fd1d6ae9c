"""What the ledger says of each number, and of the release behind it."""

import hashlib
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from exchange.registry.releases import MANIFEST_NAME, Manifest, ReleaseError, decode_manifest
from exchange.storage import StorageRoot
from exchange.storage.locations import (
    COLLECTED_NAME,
    LEDGER,
    RELEASES,
    Version,
    ledger_key,
    ledger_version,
    release_file,
    release_key,
)
from exchange.storage.records import Moment, Record, RecordError

Origin = Literal["added", "round", "starter"]
RoundId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$")]
Name = Annotated[str, Field(max_length=256)]
"""Of whoever did it, for people."""


class LedgerEntry(Record):
    """A release that was published whole."""

    REMEDY: ClassVar[str] = "restore it from a backup, or run roadshift repair"
    format: Literal[1] = 1
    version: Version
    manifest_sha256: str
    """Of manifest.json as it is stored; the manifest has those of all other files."""
    published_at: Moment
    published_by: Name
    origin: Origin
    round_id: RoundId | None = None


class VoidEntry(Record):
    """A number that will never be a release's."""

    format: Literal[1] = 1
    version: Version
    void: Literal[True] = True
    decided_at: Moment
    decided_by: Name


class Collected(Record):
    format: Literal[1] = 1
    version: Version
    collected_at: Moment
    collected_by: Name


def read_ledger(root: StorageRoot) -> list[LedgerEntry]:
    """Every release that was ever published, by version; `collected_versions` says which are there no more.

    Raises:
        RecordError, StorageError: an entry cannot be read.
    """
    numbers = (read_decided(root, version) for version in decided_versions(root))
    return [entry for entry in numbers if isinstance(entry, LedgerEntry)]


def collected_versions(root: StorageRoot) -> set[int]:
    """Releases whose files are deleted, or are just being deleted."""
    named = (release_file(info.key) for info in root.list_objects(RELEASES))
    return {version for version, name in filter(None, named) if name == COLLECTED_NAME}


def require_present(root: StorageRoot, version: int) -> LedgerEntry:
    """The entry of a release that may be served.

    Raises:
        ReleaseError: it was never published, or is collected.
        RecordError, StorageError: the ledger cannot be read.
    """
    entry = read_entry(root, version)
    key = release_key(version, COLLECTED_NAME)
    if (found := root.read_if_any(key)) is not None:
        when = Collected.decode(found.data, key).collected_at
        raise ReleaseError(f"release {version} was collected on {when:%Y-%m-%d}: add it again under a new number")
    return entry


def read_published_manifest(root: StorageRoot, version: int) -> Manifest:
    """The manifest of any release that was ever published, collected ones included.

    Raises:
        ReleaseError: there is no such release, or its manifest is damaged.
        RecordError, StorageError: it cannot be read.
    """
    data = read_manifest_bytes(root, read_entry(root, version))
    return decode_manifest(data, f"{root.url}/{release_key(version, MANIFEST_NAME)}")


def anchor_of(root: StorageRoot, version: int) -> int:
    """The release to fall back to from this one: itself, where it was learned from none.

    Raises what `read_published_manifest` raises.
    """
    return read_published_manifest(root, version).anchor or version


def decided_versions(root: StorageRoot) -> list[int]:
    return sorted(filter(None, (ledger_version(info.key) for info in root.list_objects(LEDGER))))


def read_decided(root: StorageRoot, version: int) -> LedgerEntry | VoidEntry | None:
    """What the ledger says of a number; None while its publication goes on, or nobody claimed it."""
    key = ledger_key(version)
    found = root.read_if_any(key)
    if found is None:
        return None
    try:
        return VoidEntry.decode(found.data, key)
    except RecordError:
        return LedgerEntry.decode(found.data, key)


def read_entry(root: StorageRoot, version: int) -> LedgerEntry:
    """Raises ReleaseError where the number is no release's."""
    decided = read_decided(root, version)
    if isinstance(decided, VoidEntry):
        raise ReleaseError(f"the publication of release {version} was cut off, and given up: publish it again")
    if decided is None:
        raise ReleaseError(f"{root.url} has no release {version}: roadshift release list shows those that there are")
    return decided


def read_manifest_bytes(root: StorageRoot, entry: LedgerEntry) -> bytes:
    """Raises ReleaseError where they are not those that were published."""
    data = root.read(release_key(entry.version, MANIFEST_NAME)).data
    if hashlib.sha256(data).hexdigest() != entry.manifest_sha256:
        raise ReleaseError(f"the manifest of release {entry.version} at {root.url} is not the published one")
    return data
