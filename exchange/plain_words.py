"""What people are told, in their own words: counts with the right plural, and why values were refused."""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""Line breaks among them."""
_MOST_SHOWN = 64
_INSIDE_A_TYPE = re.compile(r"constrained-\w+|function-.*|.*\[.*\]")
"""Of a place: which of several types was tried, such as literal[255]."""
_WHAT_TO_DO = {
    "missing": "it is missing: give it",
    "extra_forbidden": "nothing of this name is known: leave it out, or look at how it is spelled",
    "json_invalid": "this is no whole JSON ({error})",
    "json_type": "this is no JSON text",
    "model_type": "give an object with named values",
    "dict_type": "give an object with named values",
    "tuple_type": "give a list",
    "list_type": "give a list",
    "int_type": "{shown} is no whole number",
    "int_parsing": "{shown} is no whole number",
    "int_from_float": "{shown} is no whole number",
    "float_type": "{shown} is no number",
    "float_parsing": "{shown} is no number",
    "finite_number": "{shown} is not finite",
    "bool_type": "{shown} is neither true nor false",
    "bool_parsing": "{shown} is neither true nor false",
    "string_type": "{shown} is no text",
    "path_type": "{shown} is no path",
    "literal_error": "{shown} is not known: give {expected}",
    "enum": "{shown} is not known: give {expected}",
    "greater_than": "{shown} is too small: give more than {gt}",
    "greater_than_equal": "{shown} is too small: give {ge} or more",
    "less_than": "{shown} is too large: give less than {lt}",
    "less_than_equal": "{shown} is too large: give {le} or less",
    "string_pattern_mismatch": "{shown} does not fit: give what matches {pattern}",
    "string_too_long": "it is longer than {max_length} letters",
    "string_too_short": "it is shorter than {min_length} letters",
    "too_long": "it has more than {max_length} entries",
    "too_short": "it has fewer than {min_length} entries",
    "value_error": "{error}",
    "datetime_parsing": "{shown} is no time such as 2026-03-01T12:00:00Z",
    "datetime_from_date_parsing": "{shown} is no time such as 2026-03-01T12:00:00Z",
}


def refuse_control_characters(values: Any) -> Any:
    """Return the settings that were given, by name, where each path, URL and name of them fits into one line.

    For a validator that runs before all others: a line break in a path would tear logs and messages apart.

    Raises:
        ValueError: one does not; the message names it.
    """
    for name, value in values.items() if isinstance(values, Mapping) else ():
        for text in map(str, value if isinstance(value, (list, tuple)) else (value,)):
            if CONTROL_CHARACTER.search(text):
                raise ValueError(f"{name}: {text!r} holds a line break or another control character: leave it out")
    return values


def counted(count: int, noun: str, plural: str = "") -> str:
    """Such as "1 answer" and "2 answers"; `plural` where an s does not make it."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def refusal_of(error: ValidationError) -> str:
    """The first thing that is wrong: where, and what to do about it, in one line; never the library's own words."""
    first = error.errors()[0]
    bounds = {name: f"{value:g}" if isinstance(value, float) else value for name, value in first.get("ctx", {}).items()}
    words: Mapping[str, Any] = {**bounds, "shown": shown(first["input"])}
    told = _WHAT_TO_DO.get(first["type"], "{shown} is not what belongs there").format_map(words)
    place = ".".join(str(part) for part in first["loc"] if not _INSIDE_A_TYPE.fullmatch(str(part)))
    return " ".join(f"{place}: {told}".split()) if place else " ".join(told.split())


def shown(value: object) -> str:
    """A value for a message: its first letters, quoted where it is a text."""
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
