"""kill -9 between any two writes of a promotion, a rollback and a reset: the plan is that of before or of after."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli import app_for
from exchange.failpoints import VARIABLE
from exchange.plan.lease import holding
from exchange.plan.plan_changes import apply_change, named_versions, promoted, served_with
from exchange.plan.serving_plan import read_plan
from exchange.registry import fetch_release, publish
from exchange.registry.audit import read_audit
from exchange.storage import open_root

ORDERS = {
    "promote": ("release", "promote", "3", "--force", "--why", "test"),
    "rollback": ("rollback",),
    "reset": ("reset", "--domain", "sim-dusk"),
}


@pytest.mark.parametrize("place", ["after-audit", "after-plan"])
@pytest.mark.parametrize("order", ORDERS)
def test_an_order_that_was_cut_off_is_given_again(tmp_path: Path, release: Path, order: str, place: str) -> None:
    root = open_root(str(tmp_path / "root"))
    for parent in (None, 1, 2):
        publish(root, release, by="test", origin="added", parent=parent)
    with holding(root, "test") as lease:
        apply_change(root, lease, lambda content: served_with(content, 1, domain=None))
        before = apply_change(root, lease, lambda content: promoted(content, 2, domain=None))
    assert before is not None

    arguments = [*ORDERS[order], "--root", root.url, "--direct"]
    command = [sys.executable, "-c", "import cli; cli.main()", *arguments]
    died = subprocess.run(command, env=os.environ | {VARIABLE: f"{order}.{place}"}, check=False)
    assert died.returncode == -signal.SIGKILL
    assert [entry.what for entry in read_audit(root)] == [order]
    stored = read_plan(root)
    assert stored is not None
    assert stored.plan.revision == before.revision + (place == "after-plan")

    if place == "after-audit":
        again = CliRunner().invoke(app_for(arguments), arguments)
        assert again.exit_code == 0, again.output
        stored = read_plan(root)
        assert stored is not None
    domain = "sim-dusk" if order == "reset" else "elsewhere"
    assert stored.plan.of(domain).serving == {"promote": 3, "rollback": 1, "reset": 1}[order]
    for version in named_versions(stored.plan):
        fetch_release(root, version, tmp_path / "cache")
