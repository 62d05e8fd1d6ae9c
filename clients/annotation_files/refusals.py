"""What an import does not take, and why."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_MOST_NAMED = 10
_SHORT = 12


class FileRefused(Exception):
    """The whole file; the message says what to do."""


class Refusal(NamedTuple):
    place: str
    """Where in the file."""
    why: str


def read_bounded(path: Path, most_bytes: int) -> bytes:
    """Raises FileRefused where it is no plain file, which might never end, or a larger one; OSError."""
    if not path.is_file():
        raise FileRefused(f"{path} is no plain file: put the file itself there")
    if path.stat().st_size > most_bytes:
        raise FileRefused(f"{path} is larger than {most_bytes >> 20} MiB: give it in parts")
    return path.read_bytes()


def some_of(frames: Sequence[str]) -> str:
    """Frames by the beginning of their SHA-256, so many as a line can hold."""
    left_out = len(frames) - _MOST_NAMED
    named = ", ".join(sha256[:_SHORT] for sha256 in frames[:_MOST_NAMED])
    return f"{named} and {left_out} more" if left_out > 0 else named
