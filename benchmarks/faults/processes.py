"""`roadshift` commands as real processes that start in a moment: forked from a server that has everything imported.

A learner takes 5 to 20 s to import what it needs on two busy cores, which is most of a run's time and no part of what a
fault can break.
"""

import multiprocessing
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from exchange.failpoints import VARIABLE

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["benchmarks.faults.preloaded"])
_RESTART_AFTER_S = 0.3


class Forked:
    """One `roadshift` process, with what it says in a log."""

    def __init__(self, arguments: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self._process = _CONTEXT.Process(target=_become, args=(list(arguments), str(log), dict(environment)))
        self._process.start()
        assert self._process.pid is not None  # noqa: S101 - it has started
        self.pid = self._process.pid

    def wait(self, patience_s: float | None = None) -> int | None:
        """The exit status; None where it still runs."""
        self._process.join(patience_s)
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()
        self._process.join()

    def terminate(self) -> None:
        self._process.terminate()

    def fill_disk(self, most_bytes: int | None) -> None:
        """No file of this process can grow beyond so many bytes; None for the hard limit."""
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
        """
        Args:
            command: what the start of that number is given, from 0 on.
            failpoint: of the first start.
        """
        self._command = command
        self.log = log
        self._environment = dict(environment)
        self._failpoint = failpoint
        self._closing = threading.Event()
        self._at_the_restart: list[Callable[[], None]] = []
        self.deaths: list[int] = []
        """Exit statuses; negative for a signal's number."""
        self.died_at: list[float] = []
        """In seconds since 1970."""
        self.process = self._start()
        self._supervise_it()

    def kill(self, then: Callable[[], None] | None = None) -> None:
        """kill -9; `then` runs before the restart."""
        if then is not None:
            self._at_the_restart.append(then)
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, 9)

    def start_again(self) -> None:
        """After `end`."""
        self._closing.clear()
        self.process = self._start()
        self._supervise_it()

    def end(self, patience_s: float) -> int | None:
        """SIGTERM; the exit status, or None where it had to be killed."""
        self._closing.set()
        self._thread.join()
        self.process.terminate()
        status = self.process.wait(patience_s)
        if status is None:
            self.process.kill()
        return status

    def said(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def _supervise_it(self) -> None:
        self._thread = threading.Thread(target=self._supervise, daemon=True)
        self._thread.start()

    def _start(self) -> Forked:
        environment = self._environment | {VARIABLE: self._failpoint if not self.deaths else ""}
        return Forked(self._command(len(self.deaths)), self.log, environment)

    def _supervise(self) -> None:
        while not self._closing.is_set():
            if (status := self.process.wait(0.05)) is None:
                continue
            self.deaths.append(status)
            self.died_at.append(time.time())
            while self._at_the_restart:
                self._at_the_restart.pop(0)()
            self._closing.wait(_RESTART_AFTER_S)
            if self._closing.is_set():
                return
            self.process = self._start()


def _become(arguments: list[str], log: str, environment: dict[str, str]) -> None:
    from cli import main
    from exchange.jobs.worker_life import die_with

    die_with(os.getppid())
    os.setsid()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.environ.update(environment)
    sys.argv = ["roadshift", *arguments]
    main()
