"""Orders while a learner runs: through it, past it, and none that it would not know of."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli import app_for
from exchange.plan.serving_plan import ServingPlan, read_plan
from exchange.registry import publish
from exchange.registry.audit import read_audit
from exchange.storage import StorageRoot, open_root
from tests.rounds.conftest import write_frames
from tests.service.learner_rig import LearnerProcess, make_hollow_release


@pytest.fixture
def root(tmp_path: Path) -> StorageRoot:
    return open_root(str(tmp_path / "root"))


def plan_of(root: StorageRoot) -> ServingPlan:
    stored = read_plan(root)
    assert stored is not None
    return stored.plan


def test_orders_go_through_the_learner_or_past_it(root: StorageRoot, tmp_path: Path) -> None:
    hollow = make_hollow_release(tmp_path)
    source = write_frames(tmp_path / "day", 1.0, cars=1)
    with LearnerProcess(root.url, source, tmp_path / "learner", "--release", str(hollow)) as learner:
        publish(root, hollow, by="test", origin="added", parent=1)
        server = ("--root", root.url, "--server", f"127.0.0.1:{learner.port}")

        def run(*arguments: str) -> Result:
            return CliRunner().invoke(app_for(arguments), [*arguments])

        refused = run("release", "promote", "2", "--root", root.url, "--force", "--why", "test")
        assert refused.exit_code == 1
        assert "or go through it by --server" in refused.stderr
        served = run("release", "promote", "2", *server, "--force", "--why", "test")
        assert (served.exit_code, served.stdout) == (0, "release 2 is served: revision 2\n"), served.output
        back = run("rollback", *server, "--why", "worse")
        assert (back.exit_code, back.stdout) == (0, "default is served with release 1: revision 3\n"), back.output
        again = run("release", "promote", "2", *server, "--force", "--why", "test")
        assert again.exit_code == 0, again.output
        reset = run("reset", "--domain", "sim-dusk", *server)
        assert (reset.exit_code, reset.stdout) == (0, "sim-dusk is served with release 1: revision 5\n"), reset.output
        assert plan_of(root).default.serving == 2

        directly = run("rollback", "--root", root.url, "--direct", "--why", "the learner hangs")
        assert directly.exit_code == 0, directly.output
        assert plan_of(root).default.serving == 1
        learner.wait_for_end()
        unanswered = run("rollback", *server)
        assert unanswered.exit_code == 1
        assert "no learner answers at 127.0.0.1" in unanswered.stderr
    what = [entry.what for entry in read_audit(root) if entry.version is not None]
    assert what == ["promote", "promote", "rollback", "promote", "promote", "rollback"]
