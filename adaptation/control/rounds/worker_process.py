"""Runs a round's worker beside a gateway that must not notice: low, bounded, and still while a frame is inferred."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from exchange.fleet.engine_busy import EngineBusyReader
from exchange.jobs.progress import Progress
from exchange.jobs.round_files import FAILURE_FILE, PROGRESS_FILE
from exchange.jobs.worker_life import IDLE, NORMAL
from exchange.storage.records import RecordError

_LOOK_EVERY_S = 0.002
_MOST_LOG_BYTES = 1 << 20
LOG_FILE = "worker.log"
_WORKERS = "adaptation.learning.workers"
ROUND, PICK, FAKE = (_WORKERS, "round"), (_WORKERS, "pick"), ("adaptation.control.rounds.fake_worker",)
"""Programs: a module, which is run and never imported since it loads torch, and its first arguments."""


class WorkerProcess:
    """One worker of one folder. All calls but the freezer's own thread come from one thread."""

    def __init__(
        self,
        folder: Path,
        *,
        engine_busy: Path | None,
        alone: bool,
        program: tuple[str, ...] = ROUND,
    ) -> None:
        """`alone`: nobody else needs this machine's processors."""
        self.folder = folder
        (folder / FAILURE_FILE).unlink(missing_ok=True)
        priority = NORMAL if alone else IDLE
        command = [sys.executable, "-m", *program, str(folder), str(os.getpid()), priority]
        log_path = folder / LOG_FILE
        mode = "ab" if log_path.exists() and log_path.stat().st_size < _MOST_LOG_BYTES else "wb"
        with log_path.open(mode) as log:
            self._process = subprocess.Popen(  # noqa: S603 - this program's own module
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._freezer = _Freezer(self._process, None if engine_busy is None else EngineBusyReader(engine_busy))

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def exit_status(self) -> int | None:
        """None while it runs; below 0 where a signal ended it."""
        return self._process.poll()

    @property
    def worked_s(self) -> float:
        """How long it has run, without the time that it was held for the gateways' sake."""
        return self._freezer.worked_s

    def hold(self, why: str) -> None:
        """Keeps it still until `hold("")`."""
        self._freezer.hold(why)

    @property
    def held(self) -> str:
        return self._freezer.held

    def memory_bytes(self) -> int:
        """Resident memory of the worker; 0 when it has ended."""
        try:
            resident_pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return 0
        return resident_pages * os.sysconf("SC_PAGE_SIZE")

    def progress(self) -> Progress | None:
        """What it said last."""
        try:
            return Progress.decode((self.folder / PROGRESS_FILE).read_bytes(), PROGRESS_FILE)
        except (FileNotFoundError, RecordError):
            return None

    def failure(self) -> str:
        """Why it gave up, in one line; empty where it did not say."""
        try:
            return (self.folder / FAILURE_FILE).read_text().strip()
        except FileNotFoundError:
            return ""

    def last_words(self) -> str:
        """The end of what it printed, for an end that it did not explain."""
        lines = (self.folder / LOG_FILE).read_text(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else ""

    def kill(self) -> None:
        """Ends it at once; what it had written is whole. Harmless where it has ended."""
        self._freezer.close()
        self._process.kill()
        self._process.wait()


class _Freezer:
    """A thread that stops the worker while the engine is busy or somebody holds it, and lets it go on after."""

    def __init__(self, process: subprocess.Popen[bytes], busy: EngineBusyReader | None) -> None:
        self._process = process
        self._busy = busy
        self._held = ""
        self._started_s = time.monotonic()
        self._stopped_since_s: float | None = None
        self._stopped_s = 0.0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="freezer", daemon=True)
        self._thread.start()

    def hold(self, why: str) -> None:
        self._held = why

    @property
    def held(self) -> str:
        return self._held

    @property
    def worked_s(self) -> float:
        now_s, since_s = time.monotonic(), self._stopped_since_s
        return now_s - self._started_s - self._stopped_s - (0.0 if since_s is None else now_s - since_s)

    def close(self) -> None:
        self._closing.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._closing.wait(_LOOK_EVERY_S) and self._process.poll() is None:
            stop = bool(self._held) or (self._busy is not None and self._busy.is_busy())
            if stop != (self._stopped_since_s is not None):
                self._send(signal.SIGSTOP if stop else signal.SIGCONT)
                self._note(stop)

    def _note(self, stopped: bool) -> None:
        now_s, since_s = time.monotonic(), self._stopped_since_s
        if stopped:
            self._stopped_since_s = now_s
        elif since_s is not None:
            self._stopped_since_s = None
            self._stopped_s += now_s - since_s

    def _send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)  # one process: its threads stop with it
