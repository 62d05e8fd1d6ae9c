"""Vehicles whose frames must go: told to every gateway, and taken out of what the root holds.

A gateway keeps frames and rows for a while before they reach the root, some of them through a restart. So an erasure
is an object of its own, which gateways read and count in their heartbeats. Its key names the vehicle, too: an erasure
whose body cannot be read, or is of a newer version, is kept to all the same.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal

from exchange.storage import StorageRoot
from exchange.storage.locations import (
    ERASURES,
    erasure_key,
    erasure_of,
)
from exchange.storage.readable_objects import read_readable
from exchange.storage.records import Moment, Record, RecordError


class Erasure(Record):
    format: Literal[1] = 1
    vehicle: str
    """A pseudonym."""
    requested_at: Moment


def request_erasure(root: StorageRoot, vehicle: str) -> int:
    """Tells the gateways; returns how many erasures one has applied that knows of this one."""
    erasure = Erasure(vehicle=vehicle, requested_at=datetime.now(UTC))
    root.create(erasure_key(erasure.requested_at, vehicle), erasure.encode())
    return len(erasure_keys(root))


def erasure_keys(root: StorageRoot) -> list[str]:
    """Return the keys of all erasures; what has another name is noted. Raises StorageError."""
    keys = []
    for info in root.list_objects(ERASURES):
        if erasure_of(info.key) is None:
            root.unreadable.note(info.key, f"{info.key} is no erasure by its name: move it out of the root")
        else:
            keys.append(info.key)
    return keys


def read_erasures(root: StorageRoot, keys: Iterable[str]) -> list[Erasure]:
    """Return what the erasures of these keys ask for: by their keys alone, where they cannot be read.

    Raises:
        StorageError: the root does not answer.
    """
    return [read_readable(root, key, Erasure.decode) or _by_its_key(key) for key in keys]


def _by_its_key(key: str) -> Erasure:
    named = erasure_of(key)
    if named is None:
        raise RecordError(f"{key} is no erasure")
    return Erasure(vehicle=named[1], requested_at=named[0])


class ErasureReader:
    """Reads each erasure once."""

    def __init__(self, root: StorageRoot) -> None:
        self._root = root
        self._seen: set[str] = set()

    def unseen(self) -> list[str]:
        """Pseudonyms of vehicles that were not returned before."""
        keys = [key for key in erasure_keys(self._root) if key not in self._seen]
        vehicles = [erasure.vehicle for erasure in read_erasures(self._root, keys)]
        self._seen.update(keys)
        return vehicles
