"""Releases that somebody wants kept, whatever the plan names: `gc` never collects them."""

from typing import Literal

from exchange.storage import StorageRoot
from exchange.storage.locations import PINS, Version
from exchange.storage.record_changes import change_record
from exchange.storage.records import Record


class Pins(Record):
    format: Literal[1] = 1
    pinned: tuple[Version, ...] = ()
    """In order."""


def read_pins(root: StorageRoot) -> tuple[int, ...]:
    """Raises RecordError or StorageError where they cannot be read."""
    found = root.read_if_any(PINS)
    return () if found is None else Pins.decode(found.data, PINS).pinned


def set_pin(root: StorageRoot, version: int, *, pinned: bool) -> tuple[int, ...]:
    """Pins a release, or lets it go; returns all that are pinned then.

    Raises:
        RecordError, StorageError: they cannot be read or written.
    """

    def changed(pins: Pins | None) -> Pins:
        pins = pins or Pins()
        others = set(pins.pinned) - {version}
        return pins.with_values(pinned=tuple(sorted(others | {version} if pinned else others)))

    return change_record(root, PINS, Pins, changed).pinned
