"""From a local folder to a numbered release of the root, or to nothing that anybody sees."""

import hashlib
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from exchange.failpoints import failpoint
from exchange.registry.collecting import KEPT_WHEN_COLLECTED, make_void
from exchange.registry.entries import (
    LedgerEntry,
    Name,
    Origin,
    RoundId,
    anchor_of,
    decided_versions,
    read_decided,
    read_entry,
)
from exchange.registry.releases import MANIFEST_NAME, Manifest, ReleaseError, decode_manifest, verify_release
from exchange.storage import ObjectExists, StorageRoot
from exchange.storage.locations import CLAIM_NAME, RELEASES, Version, ledger_key, release_file, release_key
from exchange.storage.objects import check_key
from exchange.storage.readable_objects import UNREADABLE, at_its_key, read_each
from exchange.storage.records import Moment, Record, RecordError, RecordTooNew

_ATTEMPTS = 32
_GIVE_UP_BOTH = "restore the entry or the claim from a backup"


class Claim(Record):
    format: Literal[1] = 1
    version: Version
    claimed_at: Moment
    claimed_by: Name
    origin: Origin
    round_id: RoundId | None = None
    nonce: str
    """Tells two claims of one moment apart."""


_decode_claim = at_its_key(Claim, lambda claim: release_key(claim.version, CLAIM_NAME))


def publish(
    root: StorageRoot,
    release: Path,
    *,
    by: str,
    origin: Origin,
    round_id: str | None = None,
    parent: int | None = None,
) -> LedgerEntry:
    """Makes a copy of a local release one of the root's; returns its entry once everything is there.

    A round is published once: where it was already, that entry comes back, and where it was cut off it is finished or
    begun anew.

    Args:
        by: for people.
        parent: the version that the release was learned from; its anchor becomes the release's.

    Raises:
        ReleaseError: the folder is no sound release, the parent is unknown, or the number was made void meanwhile.
        RecordError, StorageError: something cannot be read or written; nothing of it is visible as a release.
    """
    manifest = verify_release(release)
    for name in manifest.files_sha256:
        _check_file_name(name)
    anchor = None if parent is None else anchor_of(root, parent)
    root.check_conditional_writes()
    claim = _claim(root, by, origin, round_id)
    if isinstance(claim, LedgerEntry):
        return claim
    failpoint("publish.after-claim")
    numbered = manifest.model_copy(update={"version": claim.version, "parent": parent, "anchor": anchor})
    entry = _finish(root, claim, _upload(root, release, numbered))
    failpoint("publish.after-ledger")
    return entry


def _claim(root: StorageRoot, by: str, origin: Origin, round_id: str | None) -> Claim | LedgerEntry:
    """A number of one's own; or the entry that the round has already."""
    for _ in range(_ATTEMPTS):
        claims = _claims(root)
        if round_id is not None and (entry := _published(root, claims, round_id, by)):
            return entry
        version = 1 + max((0, *decided_versions(root), *claims))
        claim = Claim(
            version=version,
            claimed_at=datetime.now(UTC),
            claimed_by=by,
            origin=origin,
            round_id=round_id,
            nonce=uuid.uuid4().hex,
        )
        try:
            root.create(release_key(version, CLAIM_NAME), claim.encode())
        except ObjectExists:
            continue  # somebody else was quicker, perhaps with the same round
        return claim
    raise ObjectExists(f"others took {_ATTEMPTS} numbers in {root.url} first: try again")


def _claims(root: StorageRoot) -> dict[int, Claim | None]:
    """Return every claimed number; None for a claim that cannot be read, which is noted, and takes its number still."""
    named = ((info, release_file(info.key)) for info in root.list_objects(RELEASES))
    infos = {name[0]: info for info, name in named if name is not None and name[1] == CLAIM_NAME}
    readable = {claim.version: claim for _, claim in read_each(root, infos.values(), _decode_claim)}
    return {version: readable.get(version) for version in infos}


def _published(root: StorageRoot, claims: dict[int, Claim | None], round_id: str, by: str) -> LedgerEntry | None:
    """What became of earlier publications of a round: each is finished or given up; None where it has none."""
    for version, claim in claims.items():
        if claim is None:
            # Nobody can finish it. Where it was finished before, the entry still says of which round it is.
            if isinstance(decided := read_decided(root, version), LedgerEntry) and decided.round_id == round_id:
                return decided
            continue
        if claim.round_id != round_id:
            continue
        if read_decided(root, claim.version) is None:
            if (manifest := root.read_if_any(release_key(claim.version, MANIFEST_NAME))) is not None:
                _finish(root, claim, manifest.data)
            else:
                make_void(root, claim.version, by)
        if isinstance(decided := read_decided(root, claim.version), LedgerEntry):
            return decided
    return None


def _upload(root: StorageRoot, release: Path, manifest: Manifest) -> bytes:
    """Returns the manifest as it is stored."""
    assert manifest.version is not None  # noqa: S101 - the claim's
    for name in manifest.files_sha256:
        root.create(release_key(manifest.version, name), (release / name).read_bytes())
        failpoint("publish.after-file")
    failpoint("publish.after-files")
    encoded = manifest.model_dump_json(indent=2).encode() + b"\n"
    root.create(release_key(manifest.version, MANIFEST_NAME), encoded)
    failpoint("publish.after-manifest")
    return encoded


def _finish(root: StorageRoot, claim: Claim, manifest_bytes: bytes) -> LedgerEntry:
    """The last write of a publication; whoever comes second finds the first one's entry.

    Raises:
        ReleaseError: the number was made void.
    """
    entry = _entry(claim, manifest_bytes)
    try:
        root.create(ledger_key(claim.version), entry.encode())
    except ObjectExists:  # whatever was decided counts, and is read: void raises
        return read_entry(root, claim.version)
    return entry


def repair_entries(root: StorageRoot) -> list[int]:
    """Write entries that are damaged anew, of the release's claim and manifest; return their numbers.

    Raises:
        RecordTooNew: an entry or claim is of a later major.
        RecordError, ReleaseError, StorageError: an entry cannot be made anew, or the root cannot be read or written.
    """
    repaired = []
    for version in decided_versions(root):
        try:
            read_decided(root, version)
            continue
        except RecordTooNew:
            raise
        except RecordError as damaged:
            claim = root.read_if_any(release_key(version, CLAIM_NAME))
            manifest = root.read_if_any(release_key(version, MANIFEST_NAME))
            if claim is None or manifest is None:
                raise RecordError(f"{damaged}; its claim and manifest are not there to make it of") from damaged
        decode_manifest(manifest.data, release_key(version, MANIFEST_NAME))
        try:
            whose = _decode_claim(claim.data, release_key(version, CLAIM_NAME))
        except RecordTooNew:
            raise
        except RecordError as error:
            raise RecordError(f"{error}, and {ledger_key(version)} is damaged, too: {_GIVE_UP_BOTH}") from error
        entry = _entry(whose, manifest.data)
        root.write(ledger_key(version), entry.encode())
        repaired.append(version)
    return repaired


def void_damaged_claims(root: StorageRoot, by: str) -> tuple[list[int], list[int]]:
    """Make numbers void whose claim is damaged, as nobody can finish them; return them, and those decided before.

    Raises:
        RecordError, StorageError: the root cannot be read or written.
    """
    void, decided = [], []
    for info in root.list_objects(RELEASES):
        version, name = release_file(info.key) or (0, "")
        if name == CLAIM_NAME and _is_damaged_claim(root, info.key):
            if read_decided(root, version) is None and make_void(root, version, by):
                void.append(version)
            else:
                decided.append(version)
    return sorted(void), sorted(decided)


def _is_damaged_claim(root: StorageRoot, key: str) -> bool:
    try:
        if (found := root.read_if_any(key)) is not None:
            _decode_claim(found.data, key)
    except RecordTooNew:  # its publication may go on
        return False
    except UNREADABLE:
        return True
    return False


def _entry(claim: Claim, manifest_bytes: bytes) -> LedgerEntry:
    return LedgerEntry(
        version=claim.version,
        manifest_sha256=hashlib.sha256(manifest_bytes).hexdigest(),
        published_at=datetime.now(UTC),
        published_by=claim.claimed_by,
        origin=claim.origin,
        round_id=claim.round_id,
    )


def _check_file_name(name: str) -> None:
    try:
        check_key(name)
    except ValueError as error:
        raise ReleaseError(f"a release's file cannot be stored under its name: {error}") from None
    if name in KEPT_WHEN_COLLECTED:
        raise ReleaseError(f"{name} is a name of the ledger's: rename the release's file and export it again")
