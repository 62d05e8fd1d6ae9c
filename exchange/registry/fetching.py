"""Local copies of published releases."""

import fcntl
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from exchange.registry.entries import LedgerEntry, read_manifest_bytes, require_present
from exchange.registry.releases import MANIFEST_NAME, ReleaseError, read_manifest, verify_release
from exchange.storage import ObjectMissing, StorageRoot
from exchange.storage.locations import release_key


def fetch_release(root: StorageRoot, version: int, cache: Path) -> Path:
    """A verified local copy, `<cache>/<version>`, which appears whole; a good one is kept, a damaged one replaced.

    Calls for one cache wait for each other. What they leave behind when they are killed, the next one removes.

    Raises:
        ReleaseError: there is no such release, it is collected, or what the root holds of it is damaged.
        RecordError, StorageError: it cannot be read.
        OSError: the copy cannot be written.
    """
    entry = require_present(root, version)
    cache.mkdir(parents=True, exist_ok=True)
    target = cache / str(version)
    with _only_fetcher(cache) as partial:
        if not _is_good(target, entry):
            try:
                _download(root, entry, partial)
            except ObjectMissing:
                require_present(root, version)  # says so where it was collected meanwhile
                raise
            verify_release(partial)
            if target.exists():
                target.rename(partial.with_name("damaged"))
            partial.rename(target)
    return target


def _is_good(release: Path, entry: LedgerEntry) -> bool:
    try:
        stored = (release / MANIFEST_NAME).read_bytes()
        verify_release(release)
    except (ReleaseError, OSError):
        return False
    return hashlib.sha256(stored).hexdigest() == entry.manifest_sha256


def _download(root: StorageRoot, entry: LedgerEntry, folder: Path) -> None:
    folder.mkdir()
    (folder / MANIFEST_NAME).write_bytes(read_manifest_bytes(root, entry))
    for name in read_manifest(folder).files_sha256:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(root.read(release_key(entry.version, name)).data)


@contextmanager
def _only_fetcher(cache: Path) -> Iterator[Path]:
    """A name for an incomplete copy, free and this caller's alone."""
    partial = cache / ".partial"
    with (cache / ".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            yield partial / "release"
        finally:
            shutil.rmtree(partial, ignore_errors=True)
