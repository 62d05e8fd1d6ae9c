"""Releases that somebody wants kept, whatever the plan names: `gc` never collects them."""

from typing import ClassVar, Literal

from exchange.registry.entries import collected_versions, read_ledger
from exchange.storage import StorageRoot
from exchange.storage.locations import PINS, Version
from exchange.storage.readable_objects import UNREADABLE
from exchange.storage.record_changes import change_record
from exchange.storage.records import Record


class Pins(Record):
    REMEDY: ClassVar[str] = "restore it from a backup, or run roadshift repair, which pins every release"
    format: Literal[1] = 1
    pinned: tuple[Version, ...] = ()
    """In order."""


def read_pins(root: StorageRoot) -> tuple[int, ...]:
    """Raises RecordError or StorageError where they cannot be read."""
    found = root.read_if_any(PINS)
    return () if found is None else Pins.decode(found.data, PINS).pinned


def pins_for_a_list(root: StorageRoot) -> tuple[int, ...] | None:
    """Return what is pinned; None where it cannot be read, which is noted: whoever lists releases goes on.

    Raises:
        StorageError: the root does not answer.
    """
    try:
        pinned = read_pins(root)
    except UNREADABLE as error:
        root.unreadable.note(PINS, error)
        return None
    root.unreadable.forget(PINS)
    return pinned


def all_pinned(root: StorageRoot) -> Pins:
    """Return pins of every release whose files are there: nobody knows which of them were pinned.

    Raises:
        RecordError, StorageError: the ledger cannot be read.
    """
    collected = collected_versions(root)
    return Pins(pinned=tuple(entry.version for entry in read_ledger(root) if entry.version not in collected))


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
