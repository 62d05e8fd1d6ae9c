"""What gateways captured in a domain, as the learner may use it: no damaged shards, and no erased vehicles."""

from collections.abc import Iterator
from datetime import datetime
from itertools import chain, islice, zip_longest

from adaptation.control.rounds.left_out import LeftOutFrames
from exchange.fleet.erasures import erasure_keys, read_erasures
from exchange.fleet.frames import CapturedFrame, read_shard
from exchange.storage import ObjectMissing, StorageRoot
from exchange.storage.locations import FRAMES, ShardName
from exchange.storage.readable_objects import UNREADABLE

_MOST_SCANNED, _MOST_SCANNED_BYTES = 512, 256 << 20


def newest_first(root: StorageRoot, domain: str, left_out: LeftOutFrames) -> Iterator[tuple[str, list[CapturedFrame]]]:
    """Each shard's key and its frames, which `left_out` has not looked at: that is for those that are taken."""
    erased = when_erased(root)
    names = filter(None, (ShardName.parse(info.key) for info in root.list_objects(f"{FRAMES}/{domain}")))
    for name in sorted(names, key=lambda name: name.closed_at, reverse=True):
        try:
            frames = list(read_shard(root.read(name.key).data, name.key))
        except ObjectMissing:  # it was too old
            continue
        except UNREADABLE as error:
            left_out.note_shard(domain, name.key, error)
            continue
        yield name.key, [frame for frame in frames if not is_erased(frame, erased)]


def newest_of_each_drive(
    root: StorageRoot, domain: str, most: int, left_out: LeftOutFrames | None = None
) -> list[CapturedFrame]:
    """So many of the newest readable frames, whatever they were kept for, taken from each drive in turn.

    Raises:
        RecordError, StorageError: something cannot be read.
    """
    left_out = left_out or LeftOutFrames()
    by_drive: dict[str, list[tuple[str, CapturedFrame]]] = {}
    left_bytes = _MOST_SCANNED_BYTES
    found = ((shard, frame) for shard, frames in newest_first(root, domain, left_out) for frame in frames)
    for shard, frame in islice(found, _MOST_SCANNED):
        left_bytes -= len(frame.image)
        if left_bytes < 0:
            break
        by_drive.setdefault(frame.metadata.drive, []).append((shard, frame))
    turns = filter(None, chain.from_iterable(zip_longest(*by_drive.values())))
    return list(islice((frame for shard, frame in turns if left_out.is_readable(shard, frame)), most))


def when_erased(root: StorageRoot) -> dict[str, datetime]:
    """When each erased vehicle was erased last; what it sent later is captured anew."""
    records = read_erasures(root, erasure_keys(root))
    return {record.vehicle: record.requested_at for record in sorted(records, key=lambda record: record.requested_at)}


def is_erased(frame: CapturedFrame, erased: dict[str, datetime]) -> bool:
    at = erased.get(frame.metadata.vehicle)
    return at is not None and frame.metadata.captured_at <= at
