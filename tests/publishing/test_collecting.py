"""gc takes what nobody needs and nothing else, and whatever cuts it off, no plan points at nothing."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adaptation.control.releases.collecting import ROUNDS_AGE, UNFINISHED_AGE, collect, find_rubbish
from exchange.failpoints import VARIABLE
from exchange.fleet.presence import PresenceRows
from exchange.plan.lease import Lease, LeaseLost, holding
from exchange.plan.plan_changes import apply_change, named_versions, promoted, with_candidate
from exchange.plan.serving_plan import PlanContent, read_plan
from exchange.registry import (
    VoidEntry,
    collected_versions,
    fetch_release,
    mark_collected,
    publish,
    read_decided,
    read_ledger,
    read_published_manifest,
)
from exchange.registry.audit import read_audit
from exchange.registry.pins import set_pin
from exchange.registry.releases import ReleaseError
from exchange.storage import StorageRoot
from exchange.storage.locations import presence_key, release_key
from tests.clocks import LONG_S

NOW = datetime.now(UTC)


def change(root: StorageRoot, *changes: Callable[[PlanContent | None], PlanContent]) -> None:
    with holding(root, "test") as lease:
        for each in changes:
            apply_change(root, lease, each)


def collected(root: StorageRoot, keep_last: int = 1, now: datetime = NOW) -> set[int]:
    with holding(root, "test") as lease:
        collect(root, lease, who="test", keep_last=keep_last, now=now)
    return collected_versions(root)


def test_what_is_named_pinned_an_anchor_or_of_the_last_stays(served_root: StorageRoot, release: Path) -> None:
    for _ in range(4):
        publish(served_root, release, by="test", origin="added")
    change(
        served_root,
        lambda content: promoted(content, 3, domain="sim-dusk"),
        lambda content: with_candidate(content, 5, domain="sim-fog", share=0.1, shadow_share=0),
    )
    set_pin(served_root, 4, pinned=True)
    assert {each.name for each in find_rubbish(served_root, keep_last=2)} == {"2", "6"}
    assert collected_versions(served_root) == set()
    assert collected(served_root, keep_last=2) == {2, 6}
    assert collected(served_root, keep_last=2) == {2, 6}
    assert [entry.version for entry in read_ledger(served_root)] == list(range(1, 9))
    assert read_published_manifest(served_root, 2).parent == 1
    assert [info.key for info in served_root.list_objects("releases/2")] == [
        "releases/2/claim.json",
        "releases/2/collected.json",
        "releases/2/manifest.json",
    ]
    (entry,) = [entry for entry in read_audit(served_root) if entry.what == "collect"]
    assert entry.details["releases"] == [2, 6]


def test_the_anchor_of_what_is_served_stays(served_root: StorageRoot, tmp_path: Path) -> None:
    """1 is named by no plan any more, but 3 came from it."""
    change(
        served_root,
        lambda content: promoted(content, 2, domain=None),
        lambda content: promoted(content, 3, domain=None),
        lambda content: promoted(content, 4, domain=None),
    )
    assert collected(served_root) == {2}
    fetch_release(served_root, 1, tmp_path / "cache")


def test_rounds_presence_and_publications_go_by_age(served_root: StorageRoot, tmp_path: Path, root_url: str) -> None:
    code = (
        "from pathlib import Path\n"
        "from exchange.registry import publish\n"
        "from exchange.storage import open_root\n"
        f"publish(open_root({root_url!r}), Path({str(tmp_path / 'release')!r}), by='a', origin='added')\n"
    )
    cut_off = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {VARIABLE: "publish.after-file:2"}, check=False
    )
    assert cut_off.returncode == -signal.SIGKILL
    served_root.write("rounds/0123456789abcdef/state.json", b"{}")
    served_root.write("rounds/0123456789abcdef/frames/00000.tar", b"frames")
    old = presence_key("sim-dusk", "gw-a", NOW - timedelta(days=9), 0)
    served_root.write(old, PresenceRows.of([]).encode())
    served_root.write(presence_key("sim-dusk", "gw-a", NOW, 0), PresenceRows.of([]).encode())
    assert [each.kind for each in find_rubbish(served_root)] == ["presence"]
    later = {each.kind: each for each in find_rubbish(served_root, now=NOW + UNFINISHED_AGE + timedelta(hours=1))}
    assert later["publication"].name == "5"
    much_later = NOW + ROUNDS_AGE + timedelta(hours=1)
    with holding(served_root, "test") as lease:
        kinds = {each.kind for each in collect(served_root, lease, who="test", now=much_later)}
    assert kinds == {"publication", "round", "presence"}
    assert isinstance(read_decided(served_root, 5), VoidEntry)
    assert served_root.list_objects("releases/5") == served_root.list_objects("rounds") == []
    assert publish(served_root, tmp_path / "release", by="test", origin="added").version == 6


@pytest.mark.parametrize("failpoint", ["gc.after-mark", "gc.after-file:2"])
def test_a_collection_that_was_killed_is_completed_by_the_next(
    served_root: StorageRoot, root_url: str, tmp_path: Path, failpoint: str
) -> None:
    code = (
        "from adaptation.control.releases.collecting import collect\n"
        "from exchange.plan.lease import holding\n"
        "from exchange.storage import open_root\n"
        f"root = open_root({root_url!r})\n"
        "with holding(root, 'first', lasts_s=0.5) as lease:\n"
        "    collect(root, lease, who='first', keep_last=1)\n"
    )
    died = subprocess.run([sys.executable, "-c", code], env=os.environ | {VARIABLE: failpoint}, check=False)
    assert died.returncode == -signal.SIGKILL
    with pytest.raises(ReleaseError, match="release 2 was collected"):
        fetch_release(served_root, 2, tmp_path / "cache")
    assert collected(served_root) == {2, 3}
    for entry in read_ledger(served_root):
        left = {info.key for info in served_root.list_objects(f"releases/{entry.version}")}
        if entry.version in (2, 3):
            assert release_key(entry.version, "weights.safetensors") not in left
        else:
            fetch_release(served_root, entry.version, tmp_path / "cache")


def test_who_lost_the_lease_deletes_nothing(served_root: StorageRoot, tmp_path: Path) -> None:
    lease = Lease.acquire(served_root, "first", lasts_s=LONG_S)
    Lease.acquire(served_root, "second", seize=True, lasts_s=LONG_S)
    with pytest.raises(LeaseLost):
        collect(served_root, lease, who="first", keep_last=1)
    assert collected_versions(served_root) == set()
    fetch_release(served_root, 2, tmp_path / "cache")


def test_a_mark_on_a_release_that_is_needed_is_taken_back(served_root: StorageRoot, tmp_path: Path) -> None:
    """A collection that was cut off between its mark and its look at the plan, which named the release."""
    change(served_root, lambda content: promoted(content, 2, domain=None))
    mark_collected(served_root, 2, "first")
    assert collected(served_root) == {3}
    fetch_release(served_root, 2, tmp_path / "cache")
    stored = read_plan(served_root)
    assert stored is not None
    assert named_versions(stored.plan) == {1, 2}
