"""What gateways captured in a domain, as the learner may use it: no damaged shards, and no erased vehicles."""

import logging
from collections.abc import Iterator
from datetime import datetime
from itertools import chain, islice, zip_longest

from exchange.erasures import Erasure
from exchange.frames import CapturedFrame, read_shard
from exchange.locations import ERASURES, FRAMES, ShardName
from exchange.records import RecordError
from exchange.storage import ObjectMissing, StorageRoot

_MOST_SCANNED, _MOST_SCANNED_BYTES = 512, 256 << 20
_log = logging.getLogger(__name__)


def newest_first(root: StorageRoot, domain: str) -> Iterator[tuple[str, list[CapturedFrame]]]:
    """Each shard's key and its frames."""
    erased = read_erasures(root)
    names = filter(None, (ShardName.parse(info.key) for info in root.list_objects(f"{FRAMES}/{domain}")))
    for name in sorted(names, key=lambda name: name.closed_at, reverse=True):
        try:
            frames = list(read_shard(root.read(name.key).data, name.key))
        except ObjectMissing:  # it was too old
            continue
        except RecordError as error:
            _log.warning("the learner goes without a damaged shard: %s", error)
            continue
        yield name.key, [frame for frame in frames if not is_erased(frame, erased)]


def newest_of_each_drive(root: StorageRoot, domain: str, most: int) -> list[CapturedFrame]:
    """So many of the newest frames, whatever they were kept for, taken from each drive in turn.

    Raises:
        RecordError, StorageError: something cannot be read.
    """
    by_drive: dict[str, list[CapturedFrame]] = {}
    left_bytes = _MOST_SCANNED_BYTES
    shards = newest_first(root, domain)
    for frame in islice(chain.from_iterable(frames for _, frames in shards), _MOST_SCANNED):
        left_bytes -= len(frame.image)
        if left_bytes < 0:
            break
        by_drive.setdefault(frame.metadata.drive, []).append(frame)
    turns = chain.from_iterable(zip_longest(*by_drive.values()))
    return [frame for frame in turns if frame is not None][:most]


def read_erasures(root: StorageRoot) -> dict[str, datetime]:
    """When each erased vehicle was erased last; what it sent later is captured anew."""
    records = [Erasure.decode(root.read(info.key).data, info.key) for info in root.list_objects(ERASURES)]
    return {record.vehicle: record.requested_at for record in sorted(records, key=lambda record: record.requested_at)}


def is_erased(frame: CapturedFrame, erased: dict[str, datetime]) -> bool:
    at = erased.get(frame.metadata.vehicle)
    return at is not None and frame.metadata.captured_at <= at
