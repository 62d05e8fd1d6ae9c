"""`roadshift repair` on roots whose lease, ledger or plan cannot be read."""

import pytest
from typer.testing import CliRunner

from cli import app_for
from exchange.plan.lease import LeaseRecord, holding
from exchange.plan.serving_plan import PlanContent, change_plan, read_plan
from exchange.registry import read_decided, read_ledger
from exchange.registry.audit import read_audit
from exchange.storage import StorageRoot
from exchange.storage.locations import LEASE, SERVING_PLAN, ledger_key
from exchange.storage.records import RecordError


def repaired(root: StorageRoot, *options: str) -> tuple[int, str]:
    arguments = ["repair", "--root", root.url, *options]
    result = CliRunner().invoke(app_for(arguments), arguments)
    return result.exit_code, " ".join(result.output.split())


def test_what_is_whole_stays_as_it_is(served_root: StorageRoot) -> None:
    before = [served_root.read(key).data for key in (LEASE, SERVING_PLAN, ledger_key(2))]
    assert repaired(served_root) == (0, "nothing is damaged")
    assert [served_root.read(key).data for key in (LEASE, SERVING_PLAN, ledger_key(2))] == before


def test_a_damaged_plan_names_the_command_that_writes_a_newer_one(served_root: StorageRoot) -> None:
    stored = read_plan(served_root)
    assert stored is not None
    served_root.write(SERVING_PLAN, served_root.read(SERVING_PLAN).data[:-40])
    with pytest.raises(RecordError, match=r"run roadshift repair --serve VERSION$"):
        read_plan(served_root)
    status, said = repaired(served_root)
    assert (status, "say by --serve" in said) == (1, True)
    assert repaired(served_root, "--serve", "9")[0] == 1
    assert repaired(served_root, "--serve", "2", "--why", "the disk")[0] == 0
    again = read_plan(served_root)
    assert again is not None
    assert again.plan.default.serving == 2
    assert again.plan.revision > stored.plan.revision
    (entry,) = [entry for entry in read_audit(served_root) if entry.what == "repair-plan"]
    assert (entry.version, entry.why) == (2, "the disk")


def test_a_damaged_lease_is_written_anew_above_the_plans_epoch(served_root: StorageRoot) -> None:
    served_root.write(LEASE, b"{}")
    with pytest.raises(RecordError, match=r"run roadshift repair$"), holding(served_root, "test"):
        pass
    assert repaired(served_root) == (0, "written anew: lease.json")
    assert LeaseRecord.decode(served_root.read(LEASE).data, LEASE).released
    with holding(served_root, "test") as lease:
        changed = change_plan(served_root, lease, lambda plan: plan and PlanContent(plan.default, {"d": plan.default}))
    assert changed is not None
    assert changed.lease_epoch == lease.epoch


def test_a_damaged_ledger_entry_is_made_of_claim_and_manifest(served_root: StorageRoot) -> None:
    entries = read_ledger(served_root)
    served_root.write(ledger_key(2), b"")
    with pytest.raises(RecordError, match=r"releases/ledger/2\.json is no LedgerEntry .* run roadshift repair$"):
        read_decided(served_root, 2)
    assert repaired(served_root) == (0, "written anew: ledger entry 2")
    again = read_ledger(served_root)
    assert [entry.model_copy(update={"published_at": None}) for entry in again] == [
        entry.model_copy(update={"published_at": None}) for entry in entries
    ]


@pytest.mark.parametrize("key", [LEASE, SERVING_PLAN, ledger_key(2)])
def test_what_a_later_release_wrote_is_not_repaired(served_root: StorageRoot, key: str) -> None:
    served_root.write(key, b'{"format": 2}')
    status, said = repaired(served_root, "--serve", "2")
    assert status == 1
    assert f"{key} is no " in said
    assert "it is of format 2, and this version knows format 1: upgrade this process" in said
    assert served_root.read(key).data == b'{"format": 2}'
