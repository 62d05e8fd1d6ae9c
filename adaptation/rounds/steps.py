"""The steps of a round on disk: each leaves a folder under the round's, whole or not at all."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

ROUND_FILE = "round.json"


class RoundError(Exception):
    """A round that cannot start or go on; the message says what to do."""


def step(out: Path, name: str, work: Callable[[Path], None]) -> Path:
    """Does a step unless its result is there, and returns the result's folder.

    `work` writes to a folder beside, which is renamed when it is complete. After a kill, `work` finds in that folder
    what it had written: a training goes on from its checkpoint, everything else is written anew.
    """
    result = out / name
    if not result.exists():
        partial = out / f"{name}.partial"
        partial.mkdir(exist_ok=True)
        work(partial)
        partial.rename(result)
    return result


def claim(out: Path, identity: Mapping[str, str]) -> None:
    """Makes a folder this round's, or recognises it as such.

    Raises:
        RoundError: it holds another round, or something else.
    """
    path = out / ROUND_FILE
    if path.exists():
        known = json.loads(path.read_text())
        if differing := [key for key, value in identity.items() if known.get(key) != value]:
            raise RoundError(
                f"{out} holds a round with another {', '.join(differing)}: repeat its options to go on with it, or"
                " choose another --out"
            )
        return
    out.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    if any(found != partial for found in out.iterdir()):
        raise RoundError(f"{out} is not empty and holds no round: choose another --out")
    partial.write_text(json.dumps(dict(identity), indent=2) + "\n")
    partial.replace(path)
