"""A root's batches of regions, read again and again: those without an open region only where they changed."""

from exchange.regions.batches import decode_batch
from exchange.regions.tasks import RegionBatch
from exchange.storage import ObjectInfo, StorageRoot
from exchange.storage.locations import region_batches_folder
from exchange.storage.readable_objects import read_readable


class BatchReader:
    """Any thread may read; what two read at once is the same."""

    def __init__(self, root: StorageRoot) -> None:
        self._root = root
        self._closed: dict[ObjectInfo, RegionBatch] = {}

    def read(self, domain: str) -> list[RegionBatch]:
        """The oldest first; those left out that cannot be read. Raises StorageError."""
        found: dict[ObjectInfo, RegionBatch] = {}
        for info in self._root.list_objects(region_batches_folder(domain)):
            batch = self._closed.get(info) or read_readable(self._root, info.key, decode_batch)
            if batch is not None:  # it was dropped meanwhile, or is skipped
                found[info] = batch
        others = {info: batch for info, batch in self._closed.items() if batch.domain != domain}
        self._closed = others | {info: batch for info, batch in found.items() if batch.is_closed}
        return list(found.values())
