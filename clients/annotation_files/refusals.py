"""What an import does not take, and why."""

from collections.abc import Sequence
from typing import NamedTuple

_MOST_NAMED = 10
_SHORT = 12


class FileRefused(Exception):
    """The whole file; the message says what to do."""


class Refusal(NamedTuple):
    place: str
    """Where in the file."""
    why: str


def some_of(frames: Sequence[str]) -> str:
    """Frames by the beginning of their SHA-256, so many as a line can hold."""
    left_out = len(frames) - _MOST_NAMED
    named = ", ".join(sha256[:_SHORT] for sha256 in frames[:_MOST_NAMED])
    return f"{named} and {left_out} more" if left_out > 0 else named
