"""Take a vehicle out of everything that a root holds: shards, presence, rounds' copies and regions."""

from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from exchange.fleet.frames import encode_members, join_shard, read_shard
from exchange.fleet.presence import PresenceRows
from exchange.fleet.pseudonyms import vehicle_of_drive
from exchange.regions.batches import NoSuchBatch, change_batch, labelled_domains, read_batches
from exchange.storage import ObjectChanged, ObjectInfo, ObjectMissing, StorageRoot
from exchange.storage.locations import (
    FRAMES,
    PRESENCE,
    ROUND_PAGE,
    ROUNDS,
    region_frames_folder,
)
from exchange.storage.readable_objects import UNREADABLE, read_readable

_ATTEMPTS = 8


@dataclass(frozen=True)
class Erased:
    frames: int
    presence_rows: int


def erase_stored(root: StorageRoot, vehicle: str) -> Erased:
    """Takes a vehicle out of all shards, of rounds' copies of them, of presence parts, and of people's regions.

    Others' frames and rows are rewritten as they are. A round's page, which shows frames, goes where the vehicle was
    among them; its numbers stay. What cannot be read stays as it is, and is noted in `root.unreadable`: who asks for
    the erasure must hear of it.

    Raises:
        StorageError: the root does not answer; what was erased so far stays erased.
    """
    frames, rows = (
        sum(_erase_from(root, info.key, vehicle) for info in _shards_and_parts(root, folder))
        for folder in (FRAMES, PRESENCE)
    )
    return Erased(frames + _erase_from_rounds(root, vehicle) + erase_regions(root, vehicle), rows)


def erase_regions(root: StorageRoot, vehicle: str) -> int:
    """Regions with what people said of them, and then their frames; how many frames went.

    Raises as `erase_stored`.
    """
    erased = 0
    for domain in labelled_domains(root):
        for batch in read_batches(root, domain):
            with suppress(NoSuchBatch):  # dropped meanwhile
                change_batch(root, domain, batch.id, lambda now: now.without_vehicle(vehicle))
        for info in _shards_and_parts(root, region_frames_folder(domain)):
            if _holds(root, info.key, vehicle):
                root.delete(info.key)
                erased += 1
    return erased


def _erase_from_rounds(root: StorageRoot, vehicle: str) -> int:
    erased = 0
    for info in root.list_objects(ROUNDS):
        if info.key.endswith(".tar") and _holds(root, info.key, vehicle):
            root.delete("/".join((*info.key.split("/")[:2], ROUND_PAGE)))  # first: a second call would not find it
            erased += _erase_from(root, info.key, vehicle)
    return erased


def _shards_and_parts(root: StorageRoot, folder: str) -> list[ObjectInfo]:
    infos = root.list_objects(folder)
    for info in infos:
        if not info.key.endswith((".tar", ".npz")):
            root.unreadable.note(
                info.key, f"{info.key} is neither a shard nor a presence part: move it out of the root"
            )
    return [info for info in infos if info.key.endswith((".tar", ".npz"))]


def _holds(root: StorageRoot, key: str, vehicle: str) -> bool:
    """Whether some frame of a shard is the vehicle's."""
    return bool(read_readable(root, key, lambda data, key: _without(data, key, vehicle)[1]))


def _erase_from(root: StorageRoot, key: str, vehicle: str) -> int:
    """How many frames or rows went."""
    for _ in range(_ATTEMPTS):
        try:
            found = root.read(key)
            rest, erased = _without(found.data, key, vehicle)
        except ObjectMissing:
            return 0
        except UNREADABLE as error:
            root.unreadable.note(key, error)
            return 0
        if not erased:
            return 0
        try:
            root.replace(key, rest, found.etag)
        except ObjectChanged:
            continue
        return erased
    raise ObjectChanged(f"{key} changes too quickly: try again")


def _without(data: bytes, key: str, vehicle: str) -> tuple[bytes, int]:
    if key.endswith(".tar"):
        frames = list(read_shard(data, key))
        others = [frame for frame in frames if frame.metadata.vehicle != vehicle]
        return join_shard(map(encode_members, others)), len(frames) - len(others)
    rows = PresenceRows.decode(data, key)
    is_others_N = np.array([vehicle_of_drive(drive) != vehicle for drive in rows.drive_N.tolist()], dtype=np.bool_)
    return rows[is_others_N].encode(), int((~is_others_N).sum())
