"""The process that learns: one round, from the target's frames to a release and the gate's verdict.

    python -m adaptation.learning.workers round FOLDER PARENT PRIORITY

    FOLDER/job.json       `Job`, written by the learner
    FOLDER/target/        the captured frames
    FOLDER/out/           what the round's steps leave; a worker that was killed goes on from there
    FOLDER/progress.json  replaced a few times a second
    FOLDER/verdict.json   what the gate says of FOLDER/out/release
    FOLDER/failure.txt    why it cannot be done, in one line; then the exit status is 1

With the priority "idle" it runs only on what nobody else wants of the processors. It dies with the learner that started
it, which may be the process PARENT alone.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from adaptation.learning.kept_memory import keep_freed_memory
from exchange.jobs.progress import ProgressFile
from exchange.jobs.round_files import FAILURE_FILE, PROGRESS_FILE, write_whole
from exchange.jobs.worker_life import IDLE, die_with, yield_to_others
from exchange.net.logs import configure_logs, note_ids


def main(arguments: Sequence[str]) -> None:
    folder, parent, priority = Path(arguments[0]), int(arguments[1]), arguments[2]
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
