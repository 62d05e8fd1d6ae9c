"""A child process's output, kept in a few files of bounded size."""

import asyncio
import logging
import logging.handlers
import re
from collections import deque
from pathlib import Path

FILE_BYTES, FILE_COUNT = 2 << 20, 3
LINE_BYTES = 16 << 10
"""A longer line is cut into several."""


class BoundedLog:
    """Copies a stream to `path`, `path`.1, ..., and remembers the last lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files = logging.handlers.RotatingFileHandler(path, maxBytes=FILE_BYTES, backupCount=FILE_COUNT - 1)
        self._tail: deque[str] = deque(maxlen=200)

    async def copy_from(self, stream: asyncio.StreamReader) -> None:
        """Returns when the last holder of the stream's other end has gone."""
        rest = b""
        while chunk := await stream.read(LINE_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > LINE_BYTES:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._write(line.decode(errors="replace"))
        if rest:
            self._write(rest.decode(errors="replace"))

    def last_error(self) -> str:
        """The last line that looks like Triton's errors; else the first one kept, which says what it disliked."""
        errors = [line for line in self._tail if re.match(r"[EF]\d{4} |error|failed", line)]
        return errors[-1] if errors else next(iter(self._tail), "it wrote nothing")

    def close(self) -> None:
        self._files.close()

    def _write(self, line: str) -> None:
        self._tail.append(line)
        self._files.emit(logging.LogRecord("triton", logging.INFO, "", 0, "%s", (line,), None))
