"""The process that looks at captured frames for regions to ask about.

    python -m adaptation.learning.workers pick FOLDER PARENT PRIORITY

What lies in the folder is told in `picking_order`.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from exchange.jobs.round_files import FAILURE_FILE, write_whole
from exchange.jobs.worker_life import IDLE, die_with, yield_to_others


def main(arguments: Sequence[str]) -> None:
    folder, parent, priority = Path(arguments[0]), int(arguments[1]), arguments[2]
    die_with(parent)
    if priority == IDLE:
        yield_to_others()  # before torch starts its threads, which inherit it
    from adaptation.learning.workers.pick_regions import PickingFailed, pick_regions

    try:
        pick_regions(folder)
    except PickingFailed as failure:
        write_whole(folder / FAILURE_FILE, f"{failure}\n".encode())
        sys.exit(1)
