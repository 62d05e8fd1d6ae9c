"""Objects of a storage root that cannot be read and are skipped: each is logged and counted once.

Nothing is deleted for it: an object stays until somebody mends it, moves it away, or updates what is to read it.
"""

import logging
import threading
from collections import Counter
from collections.abc import Iterable

MOST_KNOWN = 8192
"""Objects that are told by name; further ones are skipped all the same."""
_MOST_ERRORS = 4
"""Told of one object, which may be written again and again."""
_MOST_LINES = 32
_log = logging.getLogger(__name__)


class UnreadableObjects:
    """What one process could not read of a root. Safe to call from any thread."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        """By the first part of the key, since the process began."""
        self._lock = threading.Lock()
        self._known: dict[str, list[str]] = {}
        self._is_full = False

    def note(self, key: str, error: Exception | str) -> None:
        """Note an object that is skipped, and why."""
        key, why = _printable(key), _printable(error)
        line = why if key in why else f"{key}: {why}"
        with self._lock:
            errors = self._known.get(key, [])
            if line in errors or len(errors) >= _MOST_ERRORS or self._is_full:
                return
            if not errors and len(self._known) >= MOST_KNOWN:
                self._is_full, line = True, f"more than {MOST_KNOWN} objects: no further one is named or counted"
            else:
                self._known[key] = [*errors, line]
                self.counts[key.partition("/")[0]] += 1
        _log.warning("skipped, as it cannot be read: %s", line)

    def forget(self, key: str) -> None:
        """Forget what was said of an object that is read again."""
        with self._lock:
            self._known.pop(_printable(key), None)

    def keep_only(self, folder: str, present: Iterable[str]) -> None:
        """Forget what was said of objects and folders below a folder that are there no more."""
        with self._lock:
            known = [key for key in self._known if key.startswith(f"{folder}/")]
            if not known:
                return
            there = set(map(_printable, present))
            for key in known:
                if key not in there and not any(other.startswith(f"{key}/") for other in there):
                    del self._known[key]

    def told_keys(self) -> list[str]:
        """Return those that are told by name."""
        with self._lock:
            return list(self._known)

    def lines(self) -> list[str]:
        """Return what was said last of each object, or of the first ones and how many more there are."""
        with self._lock:
            lines = [errors[-1] for errors in self._known.values()]
        more = len(lines) - _MOST_LINES
        return lines if more <= 0 else [*lines[:_MOST_LINES], f"and {more} more objects: the log names them"]


def _printable(text: object) -> str:
    """Of any file's name, in one line."""
    return " ".join(str(text).encode("utf-8", "backslashreplace").decode().split())
