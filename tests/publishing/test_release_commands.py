"""The commands for releases and for what is served: what they do, what they tell, and what they refuse."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli import app_for
from exchange.jobs.verdict import Check, Verdict
from exchange.plan.lease import LeaseLost, holding
from exchange.plan.plan_changes import apply_change, promoted
from exchange.plan.serving_plan import ServingPlan, read_plan
from exchange.registry import collected_versions, publish
from exchange.registry.audit import AuditEntry, read_audit, user_at_host
from exchange.registry.pins import read_pins
from exchange.storage import StorageRoot
from exchange.storage.locations import PINS

Run = Callable[..., Result]


@pytest.fixture
def run(root_url: str) -> Run:
    """run("release", "list") calls the command with this test's root."""

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(app_for(arguments), [*arguments], env={"ROADSHIFT_ROOT": root_url, "COLUMNS": "160"})

    return call


def done(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(result: Result) -> str:
    """One line that begins with "error:"."""
    assert result.exit_code == 1, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def plan_of(root: StorageRoot) -> ServingPlan:
    stored = read_plan(root)
    assert stored is not None
    return stored.plan


def last_entry(root: StorageRoot) -> AuditEntry:
    return read_audit(root)[-1]


def test_releases_are_listed_and_shown(served_root: StorageRoot, run: Run) -> None:
    done(run("release", "promote", "2", "--domain", "sim-dusk", "--force", "--why", "it is dusk"))
    listed = done(run("release", "list"))
    assert "serves default" in listed
    assert "serves sim-dusk" in listed
    rows = json.loads(done(run("release", "list", "--json")))
    assert [row["version"] for row in rows] == [1, 2, 3, 4]
    assert rows[0]["roles"] == ["serves default", "previous in sim-dusk"]
    assert "efficientnet_lite0" in done(run("release", "show", "3"))
    shown = json.loads(done(run("release", "show", "3", "--json")))
    assert (shown["manifest"]["parent"], shown["manifest"]["anchor"]) == (2, 1)
    assert "has no release 9: roadshift release list" in refused(run("release", "show", "9"))


def test_the_first_release_is_promoted_and_the_next_needs_a_gate(root: StorageRoot, run: Run, release: Path) -> None:
    assert "no releases yet: roadshift release add" in done(run("release", "list"))
    for _ in range(2):
        publish(root, release, by="test", origin="added")
    assert "default is served with release 1: revision 1" in done(run("release", "promote", "1"))
    told = refused(run("release", "promote", "2"))
    assert "release 2 has passed no gate: give --source DATA, or --force --why TEXT" in told
    assert run("release", "promote", "2", "--force").exit_code == 2
    assert plan_of(root).revision == 1
    done(run("release", "promote", "2", "--force", "--why", "the gate has no data here"))
    entry = last_entry(root)
    assert (entry.who, entry.what, entry.version, entry.forced) == (user_at_host(), "promote", 2, True)
    assert entry.why == "the gate has no data here"
    assert plan_of(root).default.serving == 2


@pytest.mark.parametrize("passed", [True, False])
def test_a_rounds_release_is_promoted_by_its_own_verdict(
    served_root: StorageRoot, run: Run, release: Path, passed: bool
) -> None:
    check = Check.of("source mIoU lost", 0.01 if passed else 0.3, "at most", 0.02, "It forgot the day.")
    served_root.write("rounds/r-1/verdict.json", Verdict(checks=(check,), passed=passed).encode())
    publish(served_root, release, by="test", origin="round", round_id="r-1", parent=1)
    if passed:
        assert "source mIoU lost" in done(run("release", "promote", "5", "--domain", "sim-dusk"))
        assert plan_of(served_root).of("sim-dusk").serving == 5
        assert last_entry(served_root).details["gate"]["checks"][0]["value"] == 0.01
    else:
        told = refused(run("release", "promote", "5", "--domain", "sim-dusk"))
        assert "the gate refuses release 5: source mIoU lost: It forgot the day." in told
        assert plan_of(served_root).revision == 1


def test_rollback_and_reset(served_root: StorageRoot, run: Run) -> None:
    assert "has no previous release: roadshift reset" in refused(run("rollback"))
    for version in ("2", "3"):
        done(run("release", "promote", version, "--force", "--why", "test"))
    assert "default is served with release 2: revision 4" in done(run("rollback", "--why", "3 forgot the riders"))
    assert (last_entry(served_root).what, last_entry(served_root).version) == ("rollback", 2)
    assert "sim-dusk is served with release 1: revision 5" in done(run("reset", "--domain", "sim-dusk"))
    assert (plan_of(served_root).default.serving, plan_of(served_root).of("sim-dusk").serving) == (2, 1)
    assert run("rollback", "--domain", "Sim Dusk").exit_code == 2


def test_pins_and_collection(served_root: StorageRoot, run: Run) -> None:
    assert "pinned: 2" in done(run("release", "pin", "2", "--why", "for the trial"))
    planned = json.loads(done(run("release", "gc", "--dry-run", "--keep-last", "1", "--json")))
    assert [each["name"] for each in planned] == ["3"]
    assert collected_versions(served_root) == set()
    assert "deleted" in done(run("release", "gc", "--keep-last", "1"))
    assert collected_versions(served_root) == {3}
    assert "pinned: none" in done(run("release", "pin", "2", "--off"))
    assert read_pins(served_root) == ()
    assert "nothing to delete" in done(run("release", "gc", "--keep-last", "3"))
    told = json.loads(done(run("audit", "--json")))
    assert [entry["what"] for entry in told] == ["pin", "collect", "unpin"]
    assert "for the trial" in done(run("audit"))
    assert "release 3 was collected" in refused(run("release", "promote", "3", "--force", "--why", "test"))


@pytest.mark.parametrize("pins", [b'{"format": 2}', b'{"pinned": [2'])
def test_pins_that_cannot_be_read_stop_only_the_collection(served_root: StorageRoot, run: Run, pins: bytes) -> None:
    served_root.write(PINS, pins)
    listed = json.loads(done(run("release", "list", "--json")))
    assert [(each["version"], each["pinned"]) for each in listed] == [(number, None) for number in (1, 2, 3, 4)]
    assert "unknown" in done(run("release", "list"))
    assert "unknown: the pins cannot be read" in done(run("release", "show", "2"))
    told = refused(run("release", "gc", "--keep-last", "1"))
    assert "pins.json is no Pins" in told
    assert ("upgrade this process" if b"format" in pins else "run roadshift repair") in told
    assert collected_versions(served_root) == set()


def test_who_holds_the_lease_is_passed_by_or_fenced(served_root: StorageRoot, run: Run) -> None:
    done(run("release", "promote", "2", "--force", "--why", "test"))
    with holding(served_root, "a learner", lasts_s=2.0) as lease:
        told = refused(run("rollback"))
        assert "a learner holds" in told
        assert "go through it by --server, or past it by --direct" in told
        assert "or leave it to the learner: it collects hourly" in refused(run("release", "gc"))
        done(run("release", "gc", "--dry-run"))
        assert "default is served with release 1" in done(run("rollback", "--direct"))
        with pytest.raises(LeaseLost):
            apply_change(served_root, lease, lambda content: promoted(content, 3, domain=None))
    assert plan_of(served_root).default.serving == 1
