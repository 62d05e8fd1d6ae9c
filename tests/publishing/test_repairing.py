"""`roadshift repair` on roots where something cannot be read that others cannot do without."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from adaptation.control.learner.triggers import TriggerBook, TriggerRule, read_triggers, set_trigger
from adaptation.control.releases.collecting import collect
from cli import app_for
from exchange.plan.lease import LeaseRecord, holding
from exchange.plan.serving_plan import PlanContent, change_plan, read_plan
from exchange.registry import VoidEntry, mark_collected, publish, read_decided, read_ledger
from exchange.registry.audit import read_audit
from exchange.registry.pins import read_pins, set_pin
from exchange.storage import StorageRoot
from exchange.storage.locations import CLAIM_NAME, LEASE, PINS, SERVING_PLAN, TRIGGERS, ledger_key, release_key
from exchange.storage.records import RecordError, RecordTooNew


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


def test_where_entry_and_claim_are_damaged_both_are_named(served_root: StorageRoot) -> None:
    for key in (ledger_key(2), release_key(2, CLAIM_NAME)):
        served_root.write(key, b"{")
    status, said = repaired(served_root)
    assert status == 1
    assert "releases/2/claim.json is no Claim" in said
    assert "and releases/ledger/2.json is damaged, too: restore the entry or the claim from a backup" in said


def test_a_number_is_void_whose_claim_is_damaged_before_it_was_published(served_root: StorageRoot) -> None:
    served_root.write(release_key(2, CLAIM_NAME), b"{")
    served_root.create(release_key(5, CLAIM_NAME), b"")
    served_root.create(release_key(6, CLAIM_NAME), b'{"format": 2}')
    told = "damaged, and left so, as the ledger counts: releases/{}/claim.json"
    void = "void: release 5, which was not published yet, and whose claim is damaged"
    assert repaired(served_root) == (0, f"{void} {told.format(2)}")
    assert isinstance(read_decided(served_root, 5), VoidEntry)
    assert read_decided(served_root, 6) is None, "a later release may go on with it"
    assert [entry.version for entry in read_ledger(served_root)] == [1, 2, 3, 4]
    assert repaired(served_root) == (0, f"{told.format(2)} {told.format(5)}")


def test_damaged_triggers_name_the_command_that_empties_them(served_root: StorageRoot) -> None:
    set_trigger(served_root, "sim-dusk", TriggerRule(interval_s=60))
    served_root.write(TRIGGERS, served_root.read(TRIGGERS).data[:-9])
    for use in (read_triggers, lambda root: set_trigger(root, "sim-dusk", TriggerRule(drift=True))):
        with pytest.raises(RecordError, match=r"or run roadshift repair, and set every trigger again$"):
            use(served_root)
    status, said = repaired(served_root, "--why", "the disk")
    assert (status, said) == (
        0,
        "written anew: triggers.json, with no trigger: set each again by roadshift trigger set",
    )
    assert read_triggers(served_root) == TriggerBook()
    (entry,) = read_audit(served_root)
    assert (entry.what, entry.why) == ("repair-triggers", "the disk")


def test_damaged_pins_are_repaired_so_that_nothing_is_deleted(served_root: StorageRoot, release: Path) -> None:
    publish(served_root, release, by="test", origin="added")
    mark_collected(served_root, 3, "test")
    set_pin(served_root, 2, pinned=True)
    served_root.write(PINS, b'{"format": 1, "pinned": [2')
    for use in (read_pins, lambda root: set_pin(root, 2, pinned=False)):
        with pytest.raises(RecordError, match=r"run roadshift repair, which pins every release$"):
            use(served_root)
    status, said = repaired(served_root)
    assert status == 0
    assert "written anew: pins.json, with every stored release: 1, 2, 4, 5; roadshift release pin VERSION --off" in said
    assert read_pins(served_root) == (1, 2, 4, 5)
    assert [entry.what for entry in read_audit(served_root)] == ["repair-pins"]
    with holding(served_root, "test") as lease:
        gone = collect(served_root, lease, who="test", keep_last=1, now=datetime.now(UTC) + timedelta(days=3))
    assert [each.name for each in gone] == ["3"]


@pytest.mark.parametrize("key", [PINS, TRIGGERS])
def test_newer_pins_and_triggers_stay_and_keep_nothing_else_from_its_repair(served_root: StorageRoot, key: str) -> None:
    served_root.write(key, b'{"format": 2}')
    served_root.write(SERVING_PLAN, b"{")
    status, said = repaired(served_root, "--serve", "2")
    assert (status, served_root.read(key).data) == (0, b'{"format": 2}')
    assert f"{key} is no " in said
    assert "upgrade this process" in said
    assert read_plan(served_root) is not None
    with pytest.raises(RecordTooNew):
        read_pins(served_root) if key == PINS else read_triggers(served_root)


def test_where_a_learner_runs_an_option_is_named_that_there_is(served_root: StorageRoot) -> None:
    served_root.write(SERVING_PLAN, b"{")
    with holding(served_root, "a learner", lasts_s=2.0):
        status, said = repaired(served_root, "--serve", "2")
        assert status == 1
        assert "a learner holds" in said
        assert "take the lease from it by --direct" in said
        assert "--server" not in said
        assert repaired(served_root, "--serve", "2", "--direct")[0] == 0


@pytest.mark.parametrize("key", [LEASE, SERVING_PLAN, ledger_key(2)])
def test_what_a_later_release_wrote_is_not_repaired(served_root: StorageRoot, key: str) -> None:
    served_root.write(key, b'{"format": 2}')
    status, said = repaired(served_root, "--serve", "2")
    assert status == 1
    assert f"{key} is no " in said
    assert "it is of format 2, and this version knows format 1: upgrade this process" in said
    assert served_root.read(key).data == b'{"format": 2}'
