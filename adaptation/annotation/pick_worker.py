"""The process that looks at captured frames for regions to ask about.

    python -m adaptation.annotation.pick_worker FOLDER PARENT PRIORITY

What lies in the folder is told in `picking_order`.
"""

import sys
from pathlib import Path

from adaptation.service.round_files import FAILURE_FILE, write_whole
from adaptation.service.round_worker import IDLE, die_with, yield_to_others


def main() -> None:
    folder, parent, priority = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    die_with(parent)
    if priority == IDLE:
        yield_to_others()  # before torch starts its threads, which inherit it
    from adaptation.annotation.pick_regions import PickingFailed, pick_regions

    try:
        pick_regions(folder)
    except PickingFailed as failure:
        write_whole(folder / FAILURE_FILE, f"{failure}\n".encode())
        sys.exit(1)


if __name__ == "__main__":
    main()
