"""A root's batches of regions, read again and again: those without an open region only where they changed."""

from contextlib import suppress

from exchange.locations import region_batches_folder
from exchange.regions import RegionBatch
from exchange.storage import ObjectInfo, ObjectMissing, StorageRoot


class BatchReader:
    """Any thread may read; what two read at once is the same."""

    def __init__(self, root: StorageRoot) -> None:
        self._root = root
        self._closed: dict[ObjectInfo, RegionBatch] = {}

    def read(self, domain: str) -> list[RegionBatch]:
        """The oldest first. Raises RecordError or StorageError."""
        found: dict[ObjectInfo, RegionBatch] = {}
        for info in self._root.list_objects(region_batches_folder(domain)):
            with suppress(ObjectMissing):  # dropped meanwhile
                known = self._closed.get(info)
                found[info] = known or RegionBatch.decode(self._root.read(info.key).data, info.key)
        others = {info: batch for info, batch in self._closed.items() if batch.domain != domain}
        self._closed = others | {info: batch for info, batch in found.items() if batch.is_closed}
        return list(found.values())
