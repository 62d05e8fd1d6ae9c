"""Other `roadshift` commands as processes of a demo's own: what runs beside it, and what it waits for."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from exchange.net.logs import fatal_in

ROADSHIFT = str(Path(sys.executable).with_name("roadshift"))
GATEWAY_READY = re.compile(r"serving on port (\d+)")
LEARNER_READY = re.compile(r"operations on port (\d+)")
_START_TIMEOUT_S = 300.0
_STOP_TIMEOUT_S = 45.0


class DemoError(Exception):
    """The demo cannot go on; the message says why, in the process's own words where it gave some."""


class Ended(NamedTuple):
    code: int
    output: str
    error: str
    """What ended it in its own words, else its last line on stderr; empty where there is none."""


@contextmanager
def own_roadshift(
    arguments: Sequence[str], ready: re.Pattern[str], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Callable[[], str]]:
    """A `roadshift` command that runs until it is ended with SIGTERM, on a free port.

    Yields at once, so that other work can be done while it starts: a function that waits, and returns its address.

    Raises:
        DemoError: it did not start, or did not end cleanly.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [ROADSHIFT, arguments[0], "--listen", "127.0.0.1:0", *arguments[1:]]
    with log.open("w") as output:
        process = subprocess.Popen(  # noqa: S603 - our own command
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )  # fmt: skip
        try:
            yield lambda: f"127.0.0.1:{_wait_for_port(process, ready, log)}"
        finally:  # also after Ctrl-C: a gateway that is killed leaves shared memory to the next one to remove
            code = _stop(process)
    if code != 0:
        raise DemoError(f"roadshift {arguments[0]} ended with code {code}; its log is {log}")


def run_roadshift(*arguments: str | Path) -> Ended:
    """A `roadshift` command from its start to its end, whatever that is."""
    ended = subprocess.run(  # noqa: S603 - our own command
        [ROADSHIFT, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        env={**os.environ, "COLUMNS": str(shutil.get_terminal_size().columns)},
    )  # fmt: skip
    lines = ended.stderr.strip().splitlines()
    last = [*lines[-1:], *filter(None, map(fatal_in, lines))]
    return Ended(ended.returncode, ended.stdout, last[-1] if last else "")


def must_run(*arguments: str | Path) -> str:
    """What the command printed. Raises DemoError where it failed."""
    ended = run_roadshift(*arguments)
    if ended.code:
        raise DemoError(f"roadshift {arguments[0]} ended with code {ended.code}: {ended.error}")
    return ended.output


def _stop(process: subprocess.Popen[bytes]) -> int:
    """Its exit code: -9 where it did not end in time."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _wait_for_port(process: subprocess.Popen[bytes], ready: re.Pattern[str], log: Path) -> int:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        text = log.read_text()
        if found := ready.search(text):
            return int(found[1])
        if process.poll() is not None:
            raise DemoError(next(filter(None, map(fatal_in, text.splitlines())), text[-500:]))
        time.sleep(0.05)
    raise DemoError(f"it did not start within {_START_TIMEOUT_S:.0f} s; its log is {log}")
