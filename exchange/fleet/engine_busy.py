"""Whether an engine of this machine computes a frame just now, told from one process to another through 16 bytes.

Priorities alone do not protect serving from a training on the same cores; stopping the training around each inference
does. The gateway writes when an inference begins and when the last one that runs has ended; whoever trains maps the
same file and pauses while `is_busy`. Nobody waits for anybody: a gateway that dies amid an inference holds the signal
for at most `LONGEST_S`, and a reader that finds no file trains on.
"""

import mmap
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LONGEST_S = 5.0
"""A signal older than this says nothing any more: the gateway died, or the engine hangs. A frame may wait for its turn
and be computed for half as long."""
_SIZE_BYTES = 16
_BEGUN, _ENDED = 0, 1
"""Both in nanoseconds of CLOCK_MONOTONIC, which all processes of a machine share. 8 aligned bytes change at once."""
_REOPEN_AFTER_NS = 1_000_000_000


class EngineBusyWriter:
    """The one writer of a file. `inferring` is for one thread, and may nest or overlap."""

    def __init__(self, path: Path) -> None:
        """Takes the file over as it lies, so that readers keep their map of it.

        Raises:
            OSError: it cannot be written.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.posix_fallocate(descriptor, 0, _SIZE_BYTES)  # a full disk fails here, not by a signal amid a frame
            self._times_ns = memoryview(mmap.mmap(descriptor, _SIZE_BYTES)).cast("Q")
        finally:
            os.close(descriptor)
        self._times_ns[_BEGUN] = self._times_ns[_ENDED] = 0
        self._running = 0
        self._busy_since_ns = 0
        self._busy_ns = 0

    @contextmanager
    def inferring(self) -> Iterator[None]:
        """Says busy while at least one of these blocks runs."""
        now_ns = time.monotonic_ns()
        if not self._running:
            self._busy_since_ns = now_ns
        self._running += 1
        self._times_ns[_BEGUN] = now_ns
        try:
            yield
        finally:
            self._running -= 1
            if not self._running:
                self._times_ns[_ENDED] = now_ns = time.monotonic_ns()
                self._busy_ns += now_ns - self._busy_since_ns

    def busy_s(self) -> float:
        """For how long it was busy in all, since the start; another thread may ask."""
        running_ns = time.monotonic_ns() - self._busy_since_ns if self._running else 0
        return (self._busy_ns + running_ns) / 1e9


class EngineBusyReader:
    """For one thread; `is_busy` costs about a microsecond, so it can be asked a thousand times a second."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._times_ns: memoryview | None = None
        self._opened_ns = -_REOPEN_AFTER_NS

    def is_busy(self) -> bool:
        """Whether an inference runs that began less than `LONGEST_S` ago."""
        now_ns = time.monotonic_ns()
        if now_ns - self._opened_ns >= _REOPEN_AFTER_NS:  # it may have come, gone, or be another file by now
            self._times_ns, self._opened_ns = self._open(), now_ns
        if self._times_ns is None:
            return False
        begun_ns, ended_ns = self._times_ns[_BEGUN], self._times_ns[_ENDED]
        return begun_ns > ended_ns and now_ns - begun_ns < LONGEST_S * 1e9

    def _open(self) -> memoryview | None:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            if os.fstat(descriptor).st_size < _SIZE_BYTES:
                return None
            return memoryview(mmap.mmap(descriptor, _SIZE_BYTES, access=mmap.ACCESS_READ)).cast("Q")
        finally:
            os.close(descriptor)
