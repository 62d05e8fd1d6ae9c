"""The process that learns: one round, from the target's frames to a release and the gate's verdict.

    python -m adaptation.learning.workers.round_worker FOLDER PARENT PRIORITY

    FOLDER/job.json       `Job`, written by the learner
    FOLDER/target/        the captured frames
    FOLDER/out/           what the round's steps leave; a worker that was killed goes on from there
    FOLDER/progress.json  replaced a few times a second
    FOLDER/verdict.json   what the gate says of FOLDER/out/release
    FOLDER/failure.txt    why it cannot be done, in one line; then the exit status is 1

With the priority "idle" it runs only on what nobody else wants of the processors. It dies with the learner that started
it, which may be the process PARENT alone.
"""

import ctypes
import math
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from adaptation.control.rounds.round_state import CurvePoint, Progress
from adaptation.learning.kept_memory import keep_freed_memory
from exchange.jobs.round_files import FAILURE_FILE, PROGRESS_FILE, write_whole
from exchange.net.logs import configure_logs, note_ids

_PROGRESS_EVERY_S = 0.25
_CURVE_POINTS = 256
IDLE, NORMAL = "idle", "normal"
_PR_SET_PDEATHSIG = 1


def yield_to_others() -> None:
    """Of the idle class: it runs where every other process sleeps."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def die_with(parent: int) -> None:
    """Whatever ends the parent ends this process too, even one that is stopped."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) or os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


class ProgressFile:
    """Tells the learner how far the worker is; takes what `adaptation.learning.rounds` calls back with."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._step = ""
        self._next_s = 0.0
        self._curve: list[CurvePoint] = []

    def __call__(self, step: str, done: int, total: int, numbers: Mapping[str, float]) -> None:
        known = {name: float(value) for name, value in numbers.items() if math.isfinite(value)}
        if known:
            self._curve.append(CurvePoint(step=step, done=done, numbers=known))
            if len(self._curve) > _CURVE_POINTS:
                del self._curve[1::2]
        now_s = time.monotonic()
        if step == self._step and done < total and now_s < self._next_s:
            return
        self._step, self._next_s = step, now_s + _PROGRESS_EVERY_S
        progress = Progress(step=step, done=done, total=total, numbers=known, curve=tuple(self._curve))
        write_whole(self._path, progress.encode())


def main() -> None:
    folder, parent, priority = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    die_with(parent)
    if priority == IDLE:
        yield_to_others()  # before torch starts its threads, which inherit it
    keep_freed_memory()
    configure_logs()  # as the learner's
    note_ids(round_id=folder.name)
    from adaptation.learning.workers.round_job import JobFailed, learn_and_judge

    try:
        learn_and_judge(folder, ProgressFile(folder / PROGRESS_FILE))
    except JobFailed as failure:
        write_whole(folder / FAILURE_FILE, f"{failure}\n".encode())
        sys.exit(1)


if __name__ == "__main__":
    main()
