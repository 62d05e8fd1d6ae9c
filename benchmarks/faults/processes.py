"""`roadshift` commands as processes of their own, and one that is started again whenever it ends."""

import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from exchange.failpoints import VARIABLE

_ROOT_FOLDER = Path(__file__).parents[2]
_RESTART_AFTER_S = 0.3


class CommandProcess:
    """One `roadshift` process, which writes what it says to a log and dies with the thread that started it."""

    def __init__(self, arguments: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        life = f"from exchange.jobs.worker_life import die_with; die_with({os.getpid()})"
        command = [sys.executable, "-c", f"{life}; import cli; cli.main()", *arguments]
        # A module's bytecode that `fill_disk` cuts off would break every later import of that module.
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment}
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                command,
                cwd=_ROOT_FOLDER,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self.pid = self._process.pid

    def wait(self, patience_s: float | None = None) -> int | None:
        """Return the exit status, or None where it still runs."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(patience_s)
        return None

    def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        self._process.kill()
        self._process.wait()

    def end(self, patience_s: float) -> int | None:
        """Send SIGTERM; return the exit status, or None where it had to be killed."""
        self._process.terminate()
        status = self.wait(patience_s)
        if status is None:
            self.kill()
        return status

    def fill_disk(self, most_bytes: int | None) -> None:
        """Let no file of this process grow beyond so many bytes; None lifts the limit."""
        with suppress(ProcessLookupError):
            _, hard = resource.prlimit(self.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (hard if most_bytes is None else most_bytes, hard))


class Supervised:
    """A command that is started again whenever it ends, as a service manager does, until `end`."""

    def __init__(
        self,
        command: Callable[[int], list[str]],
        log: Path,
        environment: Mapping[str, str],
        failpoint: str = "",
    ) -> None:
        """Start the command.

        Args:
            command: returns the arguments of a start by its number, from 0 on.
            failpoint: is set for the first start only.
        """
        self._command = command
        self.log = log
        self._environment = dict(environment)
        self._failpoint = failpoint
        self._closing = threading.Event()
        self._patience_s = 0.0
        self._status_of_end: int | None = None
        self._at_the_restart: list[Callable[[], None]] = []
        self.deaths: list[int] = []
        """Exit statuses; negative for a signal's number."""
        self.died_at: list[float] = []
        """Times of the deaths, in seconds since 1970."""
        self.start_again()

    def kill(self, then: Callable[[], None] | None = None) -> None:
        """Send SIGKILL; `then` runs before the restart."""
        if then is not None:
            self._at_the_restart.append(then)
        self.process.kill()

    def start_again(self) -> None:
        """Start the command after `end`."""
        self._closing.clear()
        self.process = self._start()
        self._thread = threading.Thread(target=self._supervise, daemon=True)
        self._thread.start()

    def end(self, patience_s: float) -> int | None:
        """Send SIGTERM; return the exit status, or None where it had to be killed."""
        self._patience_s = patience_s
        self._closing.set()
        self._thread.join()
        return self._status_of_end

    def said(self) -> str:
        """Return the text of the log."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def _start(self) -> CommandProcess:
        environment = self._environment | {VARIABLE: self._failpoint if not self.deaths else ""}
        return CommandProcess(self._command(len(self.deaths)), self.log, environment)

    def _supervise(self) -> None:
        while not self._closing.is_set():
            if (status := self.process.wait(0.05)) is None:
                continue
            self.deaths.append(status)
            self.died_at.append(time.time())
            while self._at_the_restart:
                self._at_the_restart.pop(0)()
            if not self._closing.wait(_RESTART_AFTER_S):
                self.process = self._start()
        # This thread may have started the process, which therefore would not outlive it.
        self._status_of_end = self.process.end(self._patience_s)
