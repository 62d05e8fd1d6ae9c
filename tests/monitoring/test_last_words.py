"""What a process says when it cannot go on: plain, or an object on a stderr that holds nothing else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from exchange.net.logs import VARIABLE, fatal_in

ROADSHIFT = Path(sys.executable).with_name("roadshift")


def run(*command: str | Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)


def critical(stderr: str) -> list[dict[str, str]]:
    """Of a stderr that is JSON from its first line to its last."""
    told = [json.loads(line) for line in stderr.splitlines()]
    return [line for line in told if line["level"] == "CRITICAL"]


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_gateway_that_cannot_start_says_why_in_its_last_line(form: str) -> None:
    ended = run(ROADSHIFT, "serve", "--fake", ROADSHIFT_IN_FLIGHT="0", **{VARIABLE: form})
    assert (ended.returncode, ended.stdout) == (1, "")
    last = ended.stderr.splitlines()[-1]
    assert fatal_in(last) == "in_flight: '0' is too small: give 1 or more"
    assert last.startswith("{") == (form == "json")
    if form == "json":
        assert [line["message"] for line in critical(ended.stderr)] == [fatal_in(last)]


def test_a_learner_that_cannot_start_says_why_in_its_last_line(tmp_path: Path) -> None:
    ended = run(ROADSHIFT, "learner", "--root", f"file://{tmp_path}/root", "--source", tmp_path, "--log-json")
    (told,) = critical(ended.stderr)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert str(tmp_path) in told["message"]


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("raise ValueError('no lease')", "a defect ended the process"),
        ("threading.Thread(target=lambda: 1 / 0).start()", "a defect ended a thread"),
    ],
)
def test_a_traceback_is_part_of_an_object(code: str, told: str) -> None:
    begin = "import threading, warnings, exchange.net.logs as l; l.configure_logs(as_json=True); warnings.warn('old')"
    ended = run(sys.executable, "-c", f"{begin}\n{code}")
    (last,) = critical(ended.stderr)
    assert last["message"] == told
    assert "Error: " in last["exception"]
    assert "old" in json.loads(ended.stderr.splitlines()[0])["message"]


@pytest.mark.parametrize("line", ["", "serving on port 1", '{"level": "INFO", "message": "x"}', "{no json", "[]"])
def test_other_lines_are_no_last_words(line: str) -> None:
    assert fatal_in(line) is None
