"""Files that may be replaced while a process runs, such as certificates and tokens: what they hold now, parsed."""

import hashlib
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from exchange.net.startup_error import StartupError

Value = TypeVar("Value")
_LOOK_EVERY_S = 1.0
_log = logging.getLogger(__name__)


class WatchedFiles(Generic[Value]):
    """What some files hold together, parsed again where their contents are others, by whichever link or rename.

    Whoever asks has them looked at, at most once a second. Contents that cannot be read or parsed, such as half of a
    file or the new one of two, change nothing: the last good value stays, and the log says why once for each of them.
    """

    def __init__(
        self,
        *paths: Path,
        what: str,
        parse: Callable[[Sequence[bytes]], Value],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`parse` takes the contents in the order of the paths, and raises StartupError where it refuses them.

        Raises:
            StartupError: a file (`what` says to people of which kind) cannot be read now, or `parse` refuses them.
        """
        self._paths = paths
        self._what = what
        self._parse = parse
        self._clock = clock
        self._looking = threading.Lock()
        contents = self._read()
        self._used = _digest(contents)
        self._value = parse(contents)
        self._trouble: tuple[str, str] | None = None
        """What could not be used, and why, as it was logged."""
        # A pipe or a terminal gives what it has once; to open or read it again may wait forever.
        comes_once = any(path.is_fifo() or path.is_char_device() for path in paths)
        self._next_look_s = math.inf if comes_once else clock() + _LOOK_EVERY_S

    def now(self) -> Value:
        """The same object for as long as the files hold the same. Any thread may ask, and none waits for another."""
        if self._clock() >= self._next_look_s and self._looking.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._looking.release()
        return self._value

    def _look(self) -> None:
        self._next_look_s = self._clock() + _LOOK_EVERY_S
        seen = ""
        try:
            contents = self._read()
            seen = _digest(contents)
            if seen != self._used:
                self._value = self._parse(contents)
                self._used = seen
                _log.info("%s: new contents are in use", ", ".join(map(str, self._paths)))
        except StartupError as error:
            trouble = (seen, str(error))
            if trouble != self._trouble:
                _log.warning("%s; until that is mended, what was read before stays in use", error)
            self._trouble = trouble
        else:
            self._trouble = None

    def _read(self) -> list[bytes]:
        contents = []
        for path in self._paths:
            try:
                contents.append(path.read_bytes())
            except OSError as error:
                raise StartupError(f"{self._what} {path} cannot be read: {error.strerror}") from error
        return contents


def _digest(contents: Sequence[bytes]) -> str:
    """Tells contents apart without keeping secrets longer than they are parsed."""
    return " ".join(hashlib.sha256(content).hexdigest() for content in contents)
