"""What an import does not take, and why."""

from typing import NamedTuple


class FileRefused(Exception):
    """The whole file; the message says what to do."""


class Refusal(NamedTuple):
    place: str
    """Where in the file."""
    why: str
