"""The operators' commands against a learner's process."""

import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

import cli
from adaptation.control.rounds.fake_worker import ENDLESS, REFUSED
from exchange.storage import open_root
from tests.ipv6 import needs_ipv6
from tests.service.learner_rig import BeatingGateway, LearnerProcess, leave_frames


@pytest.fixture(scope="module")
def learner(hollow: Path, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LearnerProcess]:
    folder = tmp_path_factory.mktemp("commanded")
    url = f"file://{folder}/root"
    leave_frames(open_root(url), "sim-dusk", 12)
    options = ("--release", str(hollow), "--fake", "--shadow-s", "0", "--bake-s", "0")
    with LearnerProcess(url, source, folder, *options) as process:
        yield process


def run(learner: LearnerProcess, *arguments: str) -> Result:
    option = "--learner" if arguments[0] == "status" else "--server"
    command = [*arguments, option, f"127.0.0.1:{learner.port}"]
    return CliRunner().invoke(cli.app_for(command), command)


def test_a_round_is_started_watched_and_shown(learner: LearnerProcess) -> None:
    with BeatingGateway(learner.root()):
        watched = run(learner, "round", "start", "--domain", "sim-dusk", "--watch")
    assert watched.exit_code == 0, watched.output
    assert "12 captured frames" in watched.output
    assert "self-training" in watched.output
    (round_id,) = re.findall(r"round ([0-9a-f]{16}) of sim-dusk: queued", watched.output)
    assert "release 2 is served" in run(learner, "round", "show", round_id).output
    assert round_id in run(learner, "round", "list").output
    status = run(learner, "status")
    assert status.exit_code == 0
    assert "release 2, before 1" in status.output


def test_a_refused_round_ends_the_watch_with_an_error(learner: LearnerProcess) -> None:
    watched = run(learner, "round", "start", "--domain", "sim-dusk", "--seed", str(REFUSED), "--watch")
    assert watched.exit_code == 1
    assert "the gate refused it" in watched.output


def test_a_round_is_cancelled(learner: LearnerProcess) -> None:
    arguments = ("round", "start", "--domain", "sim-dusk", "--seed", str(ENDLESS), "--key", "mine")
    started = run(learner, *arguments)
    assert run(learner, *arguments).output.split()[1] == (round_id := started.output.split()[1])
    assert run(learner, "round", "cancel", round_id).exit_code == 0
    assert run(learner, "round", "watch", round_id).exit_code == 1


def test_triggers_are_set_and_listed(learner: LearnerProcess) -> None:
    told = "sim-dusk: every 2 hours and on drift, after 50 new frames"
    wanted = ("--domain", "sim-dusk", "--every-hours", "2", "--drift", "--min-new-frames", "50")
    assert told in run(learner, "trigger", "set", *wanted).output
    assert told in run(learner, "trigger", "list").output
    assert "by operators alone" in run(learner, "trigger", "set", "--domain", "sim-dusk").output


def test_wrong_input_gets_one_line(learner: LearnerProcess) -> None:
    refused = run(learner, "round", "start", "--domain", "No Domain")
    assert (refused.exit_code, refused.output.count("\n")) == (1, 1)
    assert "INVALID_ARGUMENT: domain" in refused.output
    command = ["status", "--learner", "127.0.0.1:1"]
    assert CliRunner().invoke(cli.app_for(command), command).exit_code == 1


def test_operators_need_no_torch() -> None:
    code = "import sys, clients.operations_cli; print({'torch', 'server', 'adaptation'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"


@needs_ipv6
def test_every_address_of_a_learner_may_be_of_ipv6(hollow: Path, source: Path, tmp_path: Path) -> None:
    options = ("--release", str(hollow), "--fake", "--listen", "[::1]:0", "--console-port", "0", "--metrics", "[::1]:0")
    with LearnerProcess(f"file://{tmp_path}/root", source, tmp_path, *options) as learner:
        command = ["status", "--learner", f"[::1]:{learner.port}"]
        assert CliRunner().invoke(cli.app_for(command), command).exit_code == 0
        (port,) = re.findall(r"metrics on port (\d+)", learner.said())
        (link,) = re.findall(r"console on port \d+: (http://\[::1\]:\d+/\?token=\S+)\n", learner.said())
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        for address in (f"http://[::1]:{port}/metrics", link):
            with browser.open(address, timeout=30) as answer:
                assert answer.status == 200
