"""The one entry of all workers.

python -m adaptation.learning.workers round|pick FOLDER PARENT PRIORITY
python -m adaptation.learning.workers relabel RELEASE PARENT
"""

import sys

from adaptation.learning.workers import pick_worker, relabel_worker, round_worker

_MAIN = {"round": round_worker.main, "pick": pick_worker.main, "relabel": relabel_worker.main}

if __name__ == "__main__":
    _MAIN[sys.argv[1]](sys.argv[2:])
