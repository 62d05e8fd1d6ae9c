"""kill -9 between any two writes of a publication: nothing half-visible, and the next attempt completes it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from exchange.failpoints import VARIABLE
from exchange.registry import VoidEntry, fetch_release, publish, read_decided, read_ledger
from exchange.registry.releases import hash_files
from exchange.storage import StorageRoot
from tests.releases import make_release

FAILPOINTS = {
    "publish.after-claim": False,
    "publish.after-file": False,
    "publish.after-files": False,
    "publish.after-manifest": False,
    "publish.after-ledger": True,
}
"""And whether the release is there afterwards."""


def publish_and_die(root_url: str, release: Path, failpoint: str, round_id: str | None) -> None:
    code = (
        "from pathlib import Path\n"
        "from exchange.registry import publish\n"
        "from exchange.storage import open_root\n"
        f"publish(open_root({root_url!r}), Path({str(release)!r}), by='a', origin='round', round_id={round_id!r})\n"
    )
    died = subprocess.run([sys.executable, "-c", code], env=os.environ | {VARIABLE: failpoint}, check=False)
    assert died.returncode == -signal.SIGKILL


@pytest.mark.parametrize("failpoint", FAILPOINTS)
def test_a_round_that_was_cut_off_is_published_once(
    root_url: str, root: StorageRoot, tmp_path: Path, failpoint: str
) -> None:
    release = make_release(tmp_path / "release")
    publish_and_die(root_url, release, failpoint, "r-1")
    assert len(read_ledger(root)) == FAILPOINTS[failpoint]
    exported_again = make_release(tmp_path / "again", weights=b"other weights")
    entry = publish(root, exported_again, by="b", origin="round", round_id="r-1")
    assert publish(root, release, by="c", origin="round", round_id="r-1") == entry
    assert read_ledger(root) == [entry]
    was_complete = failpoint in ("publish.after-manifest", "publish.after-ledger")
    assert entry.version == (1 if was_complete else 2)
    assert was_complete or isinstance(read_decided(root, 1), VoidEntry)
    fetched = fetch_release(root, entry.version, tmp_path / "cache")
    assert hash_files(fetched) == hash_files(release if was_complete else exported_again)


@pytest.mark.parametrize("failpoint", FAILPOINTS)
def test_a_release_from_outside_that_was_cut_off_is_added_anew(
    root_url: str, root: StorageRoot, tmp_path: Path, failpoint: str
) -> None:
    release = make_release(tmp_path / "release")
    publish_and_die(root_url, release, failpoint, None)
    entry = publish(root, release, by="b", origin="added")
    assert entry.version == 2
    for each in read_ledger(root):
        fetch_release(root, each.version, tmp_path / "cache")


def test_a_variable_that_names_another_place_changes_nothing(root: StorageRoot, tmp_path: Path) -> None:
    code = "from exchange.failpoints import failpoint\nfailpoint('here')\nfailpoint('here')\nprint('alive')"
    for value, survives in (("elsewhere", True), ("here:3", True), ("here:2", False), ("here", False)):
        done = subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {VARIABLE: value}, stdout=subprocess.PIPE, check=False
        )
        assert (done.stdout == b"alive\n") is survives
