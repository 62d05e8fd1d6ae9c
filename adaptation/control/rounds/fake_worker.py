"""Stands in for the worker where only the service around it is of interest: what it was to start from is its result.

    python -m adaptation.control.rounds.fake_worker FOLDER PARENT PRIORITY

Takes the same folder and leaves the same files as `round_worker`, within a second and without torch. The gate is
passed unless the round's seed is `REFUSED`; with the seed `COLLAPSED` the candidate is refused for a collapse, and with
`CRASHES` the worker dies.
"""

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

from exchange.jobs.progress import ProgressFile
from exchange.jobs.round_files import (
    COLLAPSE_CHECKS,
    JOB_FILE,
    OUT_FOLDER,
    PAGE_FILE,
    PROGRESS_FILE,
    RELEASE_FOLDER,
    REPORT_FILE,
    REPORT_FOLDER,
    TARGET_FOLDER,
    VERDICT_FILE,
    write_whole,
)
from exchange.jobs.verdict import Check, Verdict
from exchange.jobs.worker_life import die_with

REFUSED, COLLAPSED, CRASHES, ENDLESS = 1001, 1002, 1003, 1004
STEPS = 10
_STEP_S = 0.02


def main() -> None:
    folder, parent = Path(sys.argv[1]), int(sys.argv[2])
    die_with(parent)
    job = json.loads((folder / JOB_FILE).read_bytes())
    tell, out = ProgressFile(folder / PROGRESS_FILE), folder / OUT_FOLDER
    frames = sum(path.is_file() for path in (folder / TARGET_FOLDER).rglob("*"))
    if job["seed"] == CRASHES:
        os.kill(os.getpid(), signal.SIGKILL)
    step = 0
    while step < STEPS or job["seed"] == ENDLESS:
        time.sleep(_STEP_S)
        step += 1
        tell("self-training", min(step, STEPS), STEPS, {"loss": 1 / step})
    report = out / REPORT_FOLDER
    report.mkdir(parents=True, exist_ok=True)
    (report / REPORT_FILE).write_text(json.dumps({"frames": frames}))
    (report / PAGE_FILE).write_text(f"<p>{frames} frames</p>\n")
    shutil.copytree(job["start"], out / RELEASE_FOLDER, dirs_exist_ok=True)
    write_whole(folder / VERDICT_FILE, _verdict(job["seed"]).encode())


def _verdict(seed: int) -> Verdict:
    passed = seed not in (REFUSED, COLLAPSED)
    name = COLLAPSE_CHECKS[0] if seed == COLLAPSED else "a fake check"
    check = Check.of(name, float(passed), "at least", 1.0, "the round's seed says so.")
    return Verdict(checks=(check,), passed=passed)


if __name__ == "__main__":
    main()
