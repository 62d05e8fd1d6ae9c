"""The steps of a round on disk: each leaves a folder under the round's, whole or not at all."""

import fcntl
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from adaptation.learning.training.processes import ALONE, Processes

ROUND_FILE = "round.json"
_LOCK_FILE = "lock"


class RoundError(Exception):
    """A round that cannot start or go on; the message says what to do."""


def step(
    out: Path, name: str, work: Callable[[Path], None], processes: Processes = ALONE, *, together: bool = False
) -> Path:
    """Does a step unless its result is there, and returns the result's folder.

    `work` writes to a folder beside, which is renamed when it is complete. After a kill, `work` finds in that folder
    what it had written: a training goes on from its checkpoint, everything else is written anew. Of several processes
    the first works and the others wait, or, `together`, all work. They meet in `out`, which all must see.
    """
    result = out / name
    if not processes.agreed(result.exists()):
        partial = out / f"{name}.partial"
        if together or processes.is_first:
            partial.mkdir(exist_ok=True)
            work(partial)
        processes.wait_for_all()
        if processes.is_first:
            partial.rename(result)
        processes.wait_for_all()
    return result


@contextmanager
def claimed(out: Path, identity: Mapping[str, str]) -> Iterator[None]:
    """Makes a folder this round's, or recognises it as such, and keeps other processes out of it.

    Raises:
        RoundError: it holds another round or something else, or a process is at work on it.
    """
    out.mkdir(parents=True, exist_ok=True)
    path, lock_path = out / ROUND_FILE, out / _LOCK_FILE
    partial = path.with_suffix(".partial")
    if not path.exists() and any(found not in (partial, lock_path) for found in out.iterdir()):
        raise RoundError(f"{out} is not empty and holds no round: choose another --out")
    with lock_path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the kernel gives it back when the process ends
        except BlockingIOError:
            raise RoundError(f"another process works on the round in {out}: wait for it, or end it") from None
        if path.exists():
            _recognise(out, json.loads(path.read_text()), identity)
        else:
            partial.write_text(json.dumps(dict(identity), indent=2) + "\n")
            partial.replace(path)
        yield


def _recognise(out: Path, known: Mapping[str, str], identity: Mapping[str, str]) -> None:
    if differing := [key for key, value in identity.items() if known.get(key) != value]:
        raise RoundError(
            f"{out} holds a round with another {', '.join(differing)}: repeat its options to go on with it, or choose"
            " another --out"
        )
