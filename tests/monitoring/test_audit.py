"""What the audit tells beside changes of what is served, and how long it is kept."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import JsonValue

from adaptation.cli.erase_command import erase_vehicle
from adaptation.control.releases.collecting import collect, find_rubbish
from adaptation.control.releases.listing import audit_table
from exchange.plan.lease import Lease
from exchange.registry.audit import AuditEntry, read_audit, record, user_at_host
from exchange.storage import StorageRoot, open_root
from tests.clocks import LONG_S

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)


@pytest.fixture
def root(tmp_path: Path) -> StorageRoot:
    return open_root(str(tmp_path / "root"))


def test_entries_are_kept_for_more_than_a_year(root: StorageRoot) -> None:
    for days in (500, 401, 399, 1):
        record(root, AuditEntry(at=NOW - timedelta(days=days), who="eva@depot", what="pin", why=f"{days} days ago"))
    (rubbish,) = find_rubbish(root, now=NOW)
    assert (rubbish.kind, len(rubbish.objects), rubbish.why) == ("audit", 2, "older than 400 days")
    assert collect(root, Lease.acquire(root, "test", lasts_s=LONG_S), who="test", now=NOW) == [rubbish]
    *kept, told = read_audit(root)
    assert [entry.why for entry in kept] == ["399 days ago", "1 days ago"]
    assert (told.who, told.what) == ("test", "collect")
    assert find_rubbish(root, now=NOW) == []


def test_an_erasure_is_told_by_its_pseudonym(root: StorageRoot) -> None:
    erase_vehicle(root, "0123456789abcdef", 0.0)
    (entry,) = read_audit(root)
    assert (entry.who, entry.what, entry.details) == (user_at_host(), "erase", {"vehicle": "0123456789abcdef"})


def test_a_table_names_round_release_domain_and_details() -> None:
    details: dict[str, JsonValue] = {"annotator": "anna", "classes": {"car": 2, "road": 1}, "no_one": []}
    entry = AuditEntry(
        who="eva", what="force-gate", version=3, domain="sim-dusk", round_id="0" * 16, forced=True, details=details
    )
    table = audit_table([entry])
    cells = [next(iter(column.cells)) for column in table.columns]
    about = f"domain sim-dusk\nrelease 3\nround {'0' * 16}\nannotator: anna\nclasses: car 2, road 1\nno one: none"
    assert cells[1:] == ["eva", "force-gate (forced)", about, ""]
