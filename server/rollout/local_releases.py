"""What a gateway keeps of its root on its own disk: the releases that it serves, and the last plan that it applied.

With them it starts while the root is away.

    <folder>/<version>/        verified copies, as `exchange.registry.fetch_release` makes them
    <folder>/last_plan.json    the plan, and the root that all of this is of
"""

import shutil
from collections.abc import Collection
from pathlib import Path

from exchange.plan.serving_plan import ServingPlan
from exchange.registry import fetch_release, read_decided, read_published_manifest, require_present
from exchange.registry.releases import Manifest, verify_release
from exchange.storage import StorageError, StorageRoot
from exchange.storage.locations import RELEASES
from exchange.storage.records import Record, RecordError
from server.cannot_load import CannotLoad

_LAST_PLAN = "last_plan.json"
_COPIES = 2
"""One here, and one that the engine loads from."""
_RESERVE_BYTES = 64 << 20


class _LastPlan(Record):
    root: str
    plan: ServingPlan | None


class LocalReleases:
    """Its calls block, and may come from several threads, but for `keep`."""

    def __init__(self, folder: Path, root: StorageRoot, hasty_root: StorageRoot) -> None:
        """
        Args:
            hasty_root: the same one, with less patience: for what is asked while somebody waits.

        Raises:
            OSError: the folder cannot be written.
        """
        self._folder = folder
        self._root = root
        self._hasty_root = hasty_root
        self._good: set[int] = set()
        folder.mkdir(parents=True, exist_ok=True)
        if (last := self._last()) is None or not root.location.is_meant_by(last.root):
            self.keep(())  # of another root, whose versions have nothing to do with this one's
            self._write(_LastPlan(root=root.url, plan=None))

    def get(self, version: int) -> Path:
        """A verified copy; one that was made earlier is good enough while the root is away.

        Raises:
            CannotLoad: too little free space.
            ReleaseError: the ledger has no such release, or it is damaged.
            RecordError, StorageError, OSError: it cannot be fetched now.
        """
        release = self._folder / str(version)
        if version not in self._good:
            if release.exists():
                self._check_copy(version)
            else:
                self._check_free_space(version)
                fetch_release(self._root, version, self._folder)
            self._good.add(version)
        return release

    def _check_copy(self, version: int) -> None:
        try:
            require_present(self._hasty_root, version)
        except StorageError:
            verify_release(self._folder / str(version))
        else:
            fetch_release(self._root, version, self._folder)

    def keep(self, versions: Collection[int]) -> None:
        """Deletes all other copies."""
        for copy in self._folder.glob("[0-9]*"):
            if not (copy.name.isdecimal() and int(copy.name) in versions):
                shutil.rmtree(copy, ignore_errors=True)
        self._good &= set(versions)

    def is_published_as(self, version: int, manifest: Manifest) -> bool:
        """Whether nothing else than this release has that number in the root.

        Raises:
            ReleaseError, RecordError, StorageError: it cannot be found out.
        """
        if read_decided(self._hasty_root, version) is None:
            return True
        return read_published_manifest(self._hasty_root, version).files_sha256 == manifest.files_sha256

    def remember(self, plan: ServingPlan) -> None:
        """Raises OSError where it cannot be written."""
        self._write(_LastPlan(root=self._root.url, plan=plan))

    def last_plan(self) -> ServingPlan | None:
        last = self._last()
        return None if last is None else last.plan

    def _last(self) -> _LastPlan | None:
        try:
            return _LastPlan.decode((self._folder / _LAST_PLAN).read_bytes(), _LAST_PLAN)
        except (OSError, RecordError):  # none yet, or a disk that lost it: as good as none
            return None

    def _write(self, last: _LastPlan) -> None:
        partial = self._folder / f"{_LAST_PLAN}.partial"
        partial.write_bytes(last.encode())
        partial.rename(self._folder / _LAST_PLAN)

    def _check_free_space(self, version: int) -> None:
        size_bytes = sum(info.size_bytes for info in self._root.list_objects(f"{RELEASES}/{version}"))
        needed_bytes = _COPIES * size_bytes + _RESERVE_BYTES
        free_bytes = shutil.disk_usage(self._folder).free
        if free_bytes < needed_bytes:
            raise CannotLoad(
                f"{self._folder} has {free_bytes >> 20} MiB free, {needed_bytes >> 20} are needed "
                f"for version {version}: free some"
            )
