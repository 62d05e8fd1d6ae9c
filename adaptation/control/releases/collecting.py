"""What a root need not keep, and its deletion: old releases, publications cut off, old rounds, presence and audit.

Kept are all releases that the serving plan names, those that are pinned, the last few, and whatever these came from
that may have to be gone back to. Of a collected release the manifest stays.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

from pydantic import JsonValue

from exchange.failpoints import failpoint
from exchange.plan.lease import Lease, LeaseLost
from exchange.plan.plan_changes import named_versions
from exchange.plan.serving_plan import read_plan
from exchange.registry import (
    KEPT_WHEN_COLLECTED,
    LedgerEntry,
    VoidEntry,
    make_void,
    mark_collected,
    read_decided,
    read_published_manifest,
    unmark_collected,
)
from exchange.registry.audit import AuditEntry, audited
from exchange.registry.pins import read_pins
from exchange.registry.retention import Retention, audit_beyond, presence_beyond
from exchange.storage import ObjectInfo, StorageError, StorageRoot
from exchange.storage.locations import (
    CLAIM_NAME,
    COLLECTED_NAME,
    RELEASES,
    ROUNDS,
    ledger_version,
    release_file,
    round_of,
)
from exchange.storage.records import RecordError

KEEP_LAST = 5
UNFINISHED_AGE = timedelta(days=1)
"""Without a new file in this time, a publication counts as cut off."""
ROUNDS_AGE = timedelta(days=30)
_LAST_OF_A_ROUND = "/state.json"
"""Deleted last: whoever reads it sees a round that has ended."""


class Rubbish(NamedTuple):
    """Something that goes as a whole."""

    kind: Literal["release", "publication", "round", "presence", "audit"]
    name: str
    """The version, or the round's id; none for presence and audit."""
    objects: tuple[ObjectInfo, ...]
    why: str

    @property
    def size_bytes(self) -> int:
        return sum(info.size_bytes for info in self.objects)


@dataclass(frozen=True)
class _StoredRelease:
    version: int
    files: dict[str, ObjectInfo]

    @property
    def is_marked(self) -> bool:
        return COLLECTED_NAME in self.files

    @property
    def content(self) -> tuple[ObjectInfo, ...]:
        """What goes when it is collected."""
        return tuple(info for name, info in self.files.items() if name not in KEPT_WHEN_COLLECTED)


def find_rubbish(root: StorageRoot, *, keep_last: int = KEEP_LAST, now: datetime | None = None) -> list[Rubbish]:
    """What `collect` would delete now.

    Args:
        keep_last: so many of the newest releases, one at least: the newest may not be in the plan yet.

    Raises:
        RecordError, ReleaseError, StorageError: something cannot be read; nothing is known to be rubbish then.
    """
    now = now or datetime.now(UTC)
    return [
        *_releases(root, keep_last, now),
        *_rounds(root, now),
        *(Rubbish("presence", "", (info,), "too old") for info in presence_beyond(root, Retention(), now)),
        *_audit(root, now),
    ]


def collect(
    root: StorageRoot, lease: Lease, *, who: str, why: str = "", keep_last: int = KEEP_LAST, now: datetime | None = None
) -> list[Rubbish]:
    """Deletes what nobody needs; returns what went. What is cut off goes on with the next call.

    For the holder of the lease alone: nobody else can make the plan name what is just being deleted.

    Raises:
        LeaseLost: somebody else may change the plan now; nothing more is deleted.
        RecordError, ReleaseError, StorageError: something cannot be read or deleted.
    """
    _restore_named(root)
    rubbish = find_rubbish(root, keep_last=keep_last, now=now)
    if not rubbish:
        return []
    with audited(root, AuditEntry(who=who, what="collect", why=why, details=_details(rubbish))):
        return [each for each in rubbish if _delete(root, lease, each, who)]


def kept_versions(root: StorageRoot, versions: Sequence[int], keep_last: int) -> set[int]:
    """Of the published ones, those that stay: named, pinned, the last, and the anchors of these and their ancestors."""
    kept = _needed(root) | set(sorted(versions)[-keep_last:])
    return kept | {anchor for version in kept & set(versions) for anchor in _anchors(root, version)}


def _needed(root: StorageRoot) -> set[int]:
    stored = read_plan(root)
    return named_versions(stored.plan if stored else None) | set(read_pins(root))


def _anchors(root: StorageRoot, version: int) -> Iterator[int]:
    """Of a release, of what it was learned from, and so on."""
    ancestor: int | None = version
    while ancestor is not None:
        manifest = read_published_manifest(root, ancestor)
        yield manifest.anchor or ancestor
        ancestor = manifest.parent


def _releases(root: StorageRoot, keep_last: int, now: datetime) -> Iterator[Rubbish]:
    decided = {stored.version: (stored, read_decided(root, stored.version)) for stored in _stored_releases(root)}
    published = [version for version, (_, entry) in decided.items() if isinstance(entry, LedgerEntry)]
    kept = kept_versions(root, [version for version in published if not decided[version][0].is_marked], keep_last)
    for version, (stored, entry) in sorted(decided.items()):
        if isinstance(entry, LedgerEntry):
            if version not in kept and stored.content:
                yield Rubbish("release", str(version), stored.content, "not named, pinned, an anchor or of the last")
        elif isinstance(entry, VoidEntry) or (
            CLAIM_NAME in stored.files and _is_older(stored.files.values(), now - UNFINISHED_AGE)
        ):  # what nobody ever claimed is no publication
            yield Rubbish("publication", str(version), tuple(stored.files.values()), "cut off before it was complete")


def _rounds(root: StorageRoot, now: datetime) -> Iterator[Rubbish]:
    files: dict[str, list[ObjectInfo]] = defaultdict(list)
    for info in root.list_objects(ROUNDS):
        if (round_id := round_of(info.key)) is not None:
            files[round_id].append(info)
        else:
            root.unreadable.note(info.key, f"{info.key} belongs to no round: move it out of the root")
    for name, objects in sorted(files.items()):
        if _is_older(objects, now - ROUNDS_AGE):
            objects.sort(key=lambda info: info.key.endswith(_LAST_OF_A_ROUND))
            yield Rubbish("round", name, tuple(objects), f"nothing happened in {ROUNDS_AGE.days} days")


def _audit(root: StorageRoot, now: datetime) -> Iterator[Rubbish]:
    if entries := audit_beyond(root, Retention(), now):
        yield Rubbish("audit", "", tuple(entries), f"older than {Retention().audit_age.days} days")


def _is_older(objects: Iterable[ObjectInfo], than: datetime) -> bool:
    return max(info.modified_s for info in objects) < than.timestamp()


def _stored_releases(root: StorageRoot) -> list[_StoredRelease]:
    files: dict[int, dict[str, ObjectInfo]] = defaultdict(dict)
    for info in root.list_objects(RELEASES):
        if (named := release_file(info.key)) is not None:
            files[named[0]][named[1]] = info
        elif ledger_version(info.key) is None:
            root.unreadable.note(info.key, f"{info.key} is no file of a release: move it out of the root")
    return [_StoredRelease(version, found) for version, found in files.items()]


def _restore_named(root: StorageRoot) -> None:
    """Marks that were set just before the plan came to name the release, by a collection that was then cut off."""
    needed = _needed(root)
    for stored in _stored_releases(root):
        if stored.is_marked and stored.version in needed:
            manifest = read_published_manifest(root, stored.version)
            if set(manifest.files_sha256) <= set(stored.files):
                unmark_collected(root, stored.version)


def _delete(root: StorageRoot, lease: Lease, rubbish: Rubbish, who: str) -> bool:
    """Whether it went: a release that is needed now stays."""
    if rubbish.kind == "release":
        if not _mark(root, lease, int(rubbish.name), who):
            return False
    elif rubbish.kind == "publication" and not make_void(root, int(rubbish.name), who):
        return False  # it was completed meanwhile
    for info in rubbish.objects:
        root.delete(info.key)
        failpoint("gc.after-file")
    return True


def _mark(root: StorageRoot, lease: Lease, version: int, who: str) -> bool:
    """Marks a release, then looks whether it is needed: from the mark on no plan can come to name it."""
    mark_collected(root, version, who)
    failpoint("gc.after-mark")
    try:
        lease.renew()  # whoever took the lease saw no mark before, and may name the release
        with lease.writing:  # another thread may have begun before the mark
            needed = version in _needed(root)
    except (LeaseLost, StorageError, RecordError):
        unmark_collected(root, version)
        raise
    if needed:
        unmark_collected(root, version)
    return not needed


def _details(rubbish: Sequence[Rubbish]) -> dict[str, JsonValue]:
    releases: list[JsonValue] = [int(each.name) for each in rubbish if each.kind == "release"]
    rounds: list[JsonValue] = [each.name for each in rubbish if each.kind == "round"]
    return {"releases": releases, "rounds": rounds, "bytes": sum(each.size_bytes for each in rubbish)}
