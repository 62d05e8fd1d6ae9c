"""Entries of who did what, and pins: written once, read back in order, lost by nobody."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from exchange.registry.audit import AuditEntry, audited, read_audit, record, user_at_host
from exchange.registry.pins import read_pins, set_pin
from exchange.storage import StorageRoot, open_root
from exchange.storage.locations import audit_key

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def entry(minute: int, what: str = "promote") -> AuditEntry:
    return AuditEntry(
        at=NOON + timedelta(minutes=minute), who="eva@depot", what=what, version=2, domain="sim-dusk", why="better"
    )


def test_entries_come_back_in_order_from_any_moment(root: StorageRoot) -> None:
    assert read_audit(root) == []
    for minute in (3, 1, 2):
        record(root, entry(minute))
    assert read_audit(root) == [entry(1), entry(2), entry(3)]
    assert read_audit(root, since=NOON + timedelta(minutes=2)) == [entry(2), entry(3)]


def test_a_change_that_failed_is_told_after_the_entry_that_announced_it(root: StorageRoot) -> None:
    with pytest.raises(ValueError, match="no lease"), audited(root, entry(0)):
        raise ValueError("no lease")
    first, second = read_audit(root)
    assert first == entry(0)
    assert (second.what, second.why, second.version, second.who) == ("promote-failed", "no lease", 2, "eva@depot")


def test_an_entry_without_sense_is_none() -> None:
    with pytest.raises(ValidationError):
        entry(0, what="Promoted everything!")
    assert "@" in user_at_host()


def test_details_are_bounded_where_they_are_written_and_not_where_they_are_read(root: StorageRoot) -> None:
    many = {f"name{number}": "x" * 5000 for number in range(1000)}
    record(root, AuditEntry(who="eva", what="import-labels", details={"answers": 3, "long": list(range(1000)), **many}))
    (told,) = read_audit(root)
    assert told.details["answers"] == 3
    assert str(told.details["long"]).startswith("[0, 1, 2")
    assert len(told.model_dump_json()) < 10_000
    old = entry(0).model_copy(update={"details": many})
    root.create(audit_key(NOON, "0" * 8), old.encode())
    assert read_audit(root)[0] == old


def test_pins_are_set_and_let_go(root: StorageRoot) -> None:
    assert read_pins(root) == ()
    assert set_pin(root, 3, pinned=True) == (3,)
    assert set_pin(root, 1, pinned=True) == (1, 3) == read_pins(root)
    assert set_pin(root, 3, pinned=True) == (1, 3)
    assert set_pin(root, 3, pinned=False) == set_pin(root, 3, pinned=False) == (1,)


def test_no_pin_of_many_is_lost(root_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda version: set_pin(open_root(root_url), version, pinned=True), range(1, 5)))
    assert read_pins(open_root(root_url)) == (1, 2, 3, 4)
