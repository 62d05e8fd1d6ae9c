"""Batches of regions, and the frames that they ask about, in a storage root; the learner and its desk meet here."""

import hashlib
from collections.abc import Callable

from exchange.fleet.frames import CapturedFrame, encode_members, join_shard, read_shard
from exchange.regions.tasks import MOST_BATCHES, RegionBatch, RegionTask, tasks_of
from exchange.storage import ObjectExists, StorageRoot
from exchange.storage.locations import MAX_DOMAINS, REGIONS, region_batch_key, region_batches_folder, region_frame_key
from exchange.storage.readable_objects import at_its_key, domain_folders, read_each
from exchange.storage.record_changes import change_record
from exchange.storage.records import RecordError


class NoSuchBatch(Exception):
    """The message names it."""


class TooManyBatches(Exception):
    """The message says what to do."""


decode_batch = at_its_key(RegionBatch, lambda batch: region_batch_key(batch.domain, batch.id))


def create_batch(root: StorageRoot, batch: RegionBatch) -> None:
    """Asks the learner for regions; the same order that is there stays, however far it has come.

    Raises:
        TooManyBatches; RecordError, StorageError.
        ObjectExists: another order has the same id.
    """
    domains = labelled_domains(root)
    if batch.domain not in domains and len(domains) >= MAX_DOMAINS:
        raise TooManyBatches(f"regions were asked for in {MAX_DOMAINS} domains: drop the batches of another one first")
    if len(root.list_objects(region_batches_folder(batch.domain))) >= MOST_BATCHES:
        raise TooManyBatches(
            f"{batch.domain} has {MOST_BATCHES} batches of regions: export its labels, and drop the oldest batch by"
            " roadshift labels drop"
        )
    key = region_batch_key(batch.domain, batch.id)
    stored = RegionBatch.decode(root.create_or_read(key, batch.encode()).data, key)
    if stored.order != batch.order:
        raise ObjectExists(f"{key} is another order, of {stored.asked_by}: ask again")


def read_batches(root: StorageRoot, domain: str) -> list[RegionBatch]:
    """The oldest first; those left out that cannot be read. Raises StorageError where the root does not answer."""
    return [batch for _, batch in read_each(root, root.list_objects(region_batches_folder(domain)), decode_batch)]


def labelled_domains(root: StorageRoot) -> list[str]:
    """Domains in which regions were asked for."""
    return domain_folders(root, REGIONS)


def change_batch(
    root: StorageRoot, domain: str, batch_id: str, change: Callable[[RegionBatch], RegionBatch]
) -> RegionBatch:
    """Compare-and-swap; `change` may be called again. Raises NoSuchBatch; RecordError or StorageError."""

    def changed(batch: RegionBatch | None) -> RegionBatch:
        if batch is None:
            raise NoSuchBatch(f"there is no batch {batch_id} in {domain}: roadshift labels progress names them")
        return change(batch)

    return change_record(root, region_batch_key(domain, batch_id), RegionBatch, changed)


def keep_frame(root: StorageRoot, domain: str, frame_sha256: str, frame: CapturedFrame) -> None:
    """Keeps a frame with the label map of its metadata's version, where it is not kept yet.

    Raises:
        RecordError: something else is there; StorageError.
    """
    key = region_frame_key(domain, frame_sha256, frame.metadata.model_version)
    data = join_shard([encode_members(frame)])
    found = root.create_or_read(key, data).data
    # The same image may have come twice: whichever was kept first is as good, with its own metadata.
    if found != data and not any(_is_frame(kept, frame_sha256, frame) for kept in read_shard(found, key)):
        raise RecordError(f"{key} is not the frame of its name: delete it, and ask for regions again")


def _is_frame(kept: CapturedFrame, frame_sha256: str, frame: CapturedFrame) -> bool:
    is_image = hashlib.sha256(kept.image).hexdigest() == frame_sha256
    return is_image and kept.metadata.model_version == frame.metadata.model_version


def read_frame(root: StorageRoot, domain: str, task: RegionTask) -> CapturedFrame | None:
    """The task's frame with the asking version's labels; None where it was erased. Raises RecordError, StorageError."""
    key = region_frame_key(domain, task.frame_sha256, task.model_version)
    found = root.read_if_any(key)
    return None if found is None else next(iter(read_shard(found.data, key)), None)


def drop_batch(root: StorageRoot, domain: str, batch_id: str) -> None:
    """Deletes a batch with what people said in it, and the frames that no other batch of the domain asks about.

    Raises:
        NoSuchBatch; StorageError: call it again.
        RecordError: a batch of the domain cannot be read, and may ask about the same frames; nothing is deleted.
    """
    infos = root.list_objects(region_batches_folder(domain))
    stored = ((info.key, root.read_if_any(info.key)) for info in infos)
    batches = {batch.id: batch for batch in (decode_batch(found.data, key) for key, found in stored if found)}
    if batch_id not in batches:
        raise NoSuchBatch(f"there is no batch {batch_id} in {domain}: roadshift labels progress names them")
    kept, dropped = (
        {region_frame_key(domain, task.frame_sha256, task.model_version) for task in tasks_of(some)}
        for some in ([batch for batch in batches.values() if batch.id != batch_id], [batches[batch_id]])
    )
    for key in dropped - kept:
        root.delete(key)
    root.delete(region_batch_key(domain, batch_id))
