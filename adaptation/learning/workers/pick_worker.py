"""The process that looks at captured frames for regions to ask about.

    python -m adaptation.learning.workers.pick_worker FOLDER PARENT PRIORITY

What lies in the folder is told in `picking_order`.
"""

import sys
from pathlib import Path

from adaptation.learning.workers.round_worker import IDLE, die_with, yield_to_others
from exchange.jobs.round_files import FAILURE_FILE, write_whole


def main() -> None:
    folder, parent, priority = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    die_with(parent)
    if priority == IDLE:
        yield_to_others()  # before torch starts its threads, which inherit it
    from adaptation.learning.workers.pick_regions import PickingFailed, pick_regions

    try:
        pick_regions(folder)
    except PickingFailed as failure:
        write_whole(folder / FAILURE_FILE, f"{failure}\n".encode())
        sys.exit(1)


if __name__ == "__main__":
    main()
