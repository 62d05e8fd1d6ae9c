"""Bounds of the texts and numbers that callers send, whichever way: gRPC, the console or a command."""

import math

from exchange.plain_words import CONTROL_CHARACTER, shown

FEWEST_MINUTES, MOST_MINUTES = 0.01, 7 * 24 * 60
"""Of a round, or of people who label: at most a week."""
LONGEST_WHY_BYTES = 2000


class BadValue(Exception):
    """A value that cannot be; the message says what to send instead."""


def checked_text(name: str, text: str, *, most_bytes: int, required: bool = False) -> str:
    """Return the text where it fits into one line, and says something where it must.

    Raises:
        BadValue: it is too long, blank, or holds a control character.
    """
    size_bytes = len(text.encode(errors="replace"))
    if size_bytes > most_bytes:
        raise BadValue(f"{name} has {size_bytes} bytes: send at most {most_bytes}")
    if CONTROL_CHARACTER.search(text):
        raise BadValue(f"{name} {shown(text)} holds a line break or another control character: leave it out")
    if required and not any(letter.isprintable() and not letter.isspace() for letter in text):
        raise BadValue(f"{name} is blank: give a text")
    return text


def checked_why(why: str, *, required: bool = False) -> str:
    """Return the reason that goes into the audit. Raises BadValue as `checked_text`."""
    return checked_text("why", why, most_bytes=LONGEST_WHY_BYTES, required=required)


def checked_number(name: str, value: float, low: float, high: float) -> float:
    """Return the number where it is finite and from `low` to `high`. Raises BadValue."""
    if not (math.isfinite(value) and low <= value <= high):
        raise BadValue(f"{name} {value:g} is not from {low:g} to {high:g}: send a number in between")
    return value


def checked_minutes(value: float) -> float | None:
    """Return the minutes; None for 0, which says nothing of them. Raises BadValue."""
    return checked_number("minutes", value, FEWEST_MINUTES, MOST_MINUTES) if value else None
