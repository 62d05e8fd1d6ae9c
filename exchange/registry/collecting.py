"""How a number stops being a release's: given up before it was one, or collected afterwards."""

from datetime import UTC, datetime

from exchange.registry.entries import Collected, VoidEntry, read_decided
from exchange.registry.releases import MANIFEST_NAME
from exchange.storage import ObjectExists, StorageRoot
from exchange.storage.locations import CLAIM_NAME, COLLECTED_NAME, ledger_key, release_key

KEPT_WHEN_COLLECTED = frozenset({CLAIM_NAME, MANIFEST_NAME, COLLECTED_NAME})


def make_void(root: StorageRoot, version: int, by: str) -> bool:
    """Decides that a number is no release's, if nothing is decided yet; whether it is void then.

    Raises:
        RecordError, StorageError: the ledger cannot be read or written.
    """
    void = VoidEntry(version=version, decided_at=datetime.now(UTC), decided_by=by)
    try:
        root.create(ledger_key(version), void.encode())
    except ObjectExists:  # whatever was decided counts, and is read
        return isinstance(read_decided(root, version), VoidEntry)
    return True


def mark_collected(root: StorageRoot, version: int, by: str) -> None:
    """Says of a published release that nobody may fetch it any more; its files are deleted after this, never before.

    Only for the holder of the lease, which makes sure that no plan comes to name it.
    """
    mark = Collected(version=version, collected_at=datetime.now(UTC), collected_by=by)
    root.write(release_key(version, COLLECTED_NAME), mark.encode())


def unmark_collected(root: StorageRoot, version: int) -> None:
    """Takes the mark back, while no file is deleted yet."""
    root.delete(release_key(version, COLLECTED_NAME))
