"""Places where a process can be made to die, so that tests show what is left behind.

`ROADSHIFT_FAILPOINT=publish.after-manifest` kills the process by SIGKILL where it first passes there;
`publish.after-file:2` at its second passing. Without the variable nothing happens.
"""

import os
import signal
from collections import Counter

VARIABLE = "ROADSHIFT_FAILPOINT"

_passed: Counter[str] = Counter()


def failpoint(name: str) -> None:
    """Stands between two writes: `name` says which was the last."""
    wanted, _, passing = os.environ.get(VARIABLE, "").partition(":")
    if wanted != name:
        return
    _passed[name] += 1
    if _passed[name] == int(passing or 1):
        os.kill(os.getpid(), signal.SIGKILL)
