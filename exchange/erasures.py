"""Vehicles whose frames must go: told to every gateway, and taken out of what the root holds.

A gateway keeps frames and rows for a while before they reach the root, some of them through a restart. So an erasure
is an object of its own, which gateways read and count in their heartbeats.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import numpy as np

from exchange.frames import encode_members, join_shard, read_shard
from exchange.locations import ERASURES, FRAMES, PRESENCE, ROUND_PAGE, ROUNDS, erasure_key, region_frames_folder
from exchange.presence import PresenceRows
from exchange.pseudonyms import vehicle_of_drive
from exchange.records import Record
from exchange.region_batches import NoSuchBatch, change_batch, labelled_domains, read_batches
from exchange.storage import ObjectChanged, ObjectMissing, StorageRoot

_ATTEMPTS = 8


class Erasure(Record):
    format: Literal[1] = 1
    vehicle: str
    """A pseudonym."""
    requested_at: datetime


@dataclass(frozen=True)
class Erased:
    frames: int
    presence_rows: int


def request_erasure(root: StorageRoot, vehicle: str) -> int:
    """Tells the gateways; returns how many erasures one has applied that knows of this one."""
    erasure = Erasure(vehicle=vehicle, requested_at=datetime.now(UTC))
    root.create(erasure_key(erasure.requested_at, vehicle), erasure.encode())
    return len(root.list_objects(ERASURES))


class ErasureReader:
    """Reads each erasure once."""

    def __init__(self, root: StorageRoot) -> None:
        self._root = root
        self._seen: set[str] = set()

    def unseen(self) -> list[str]:
        """Pseudonyms of vehicles that were not returned before."""
        keys = [info.key for info in self._root.list_objects(ERASURES) if info.key not in self._seen]
        vehicles = [Erasure.decode(self._root.read(key).data, key).vehicle for key in keys]
        self._seen.update(keys)
        return vehicles


def erase_stored(root: StorageRoot, vehicle: str) -> Erased:
    """Takes a vehicle out of all shards, of rounds' copies of them, of presence parts, and of people's regions.

    Others' frames and rows are rewritten as they are. A round's page, which shows frames, goes where the vehicle was
    among them; its numbers stay.

    Raises:
        RecordError, StorageError: something cannot be read or written; what was erased so far stays erased.
    """
    frames, rows = (
        sum(_erase_from(root, info.key, vehicle) for info in root.list_objects(folder)) for folder in (FRAMES, PRESENCE)
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
        for info in root.list_objects(region_frames_folder(domain)):
            found = root.read_if_any(info.key)
            if found is not None and _without(found.data, info.key, vehicle)[1]:
                root.delete(info.key)
                erased += 1
    return erased


def _erase_from_rounds(root: StorageRoot, vehicle: str) -> int:
    erased = 0
    for info in root.list_objects(ROUNDS):
        if not info.key.endswith(".tar"):
            continue
        found = root.read_if_any(info.key)
        if found is not None and _without(found.data, info.key, vehicle)[1]:
            root.delete("/".join((*info.key.split("/")[:2], ROUND_PAGE)))  # first: a second call would not find it
            erased += _erase_from(root, info.key, vehicle)
    return erased


def _erase_from(root: StorageRoot, key: str, vehicle: str) -> int:
    """How many frames or rows went."""
    for _ in range(_ATTEMPTS):
        try:
            found = root.read(key)
        except ObjectMissing:
            return 0
        rest, erased = _without(found.data, key, vehicle)
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
