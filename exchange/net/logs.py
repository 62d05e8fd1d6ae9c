"""Logs of every process: plain lines, or one JSON object a line with the ids of what was worked on.

    {"time": "2026-03-01T12:00:00.250Z", "level": "WARNING", "logger": "server.gateway.frame_handler",
     "message": "...", "request_id": "9f0c...", "exception": "Traceback ..."}

The ids follow the call, task or thread that logs: `request_id` of a caller's request, `round_id` of a round.

As JSON, stderr holds nothing else: warnings, tracebacks and the error that ends a process (level CRITICAL) are objects,
too. What is announced to whoever started a process, such as its ports, is on stdout, in plain lines of either format.
"""

import json
import logging
import os
import re
import sys
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from exchange.net.listening import StartupError

VARIABLE = "ROADSHIFT_LOG_FORMAT"
TEXT, JSON = "text", "json"
LOG_JSON_HELP = "Log JSON: every line on stderr is an object; ports are announced on stdout, in plain lines."
REQUEST_ID_KEY = "x-request-id"
_REQUEST_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)
_TEXT_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_OWN_LOGGERS = frozenset({"adaptation", "clients", "exchange", "roadshift", "server", "__main__"})
_MOST_PLACES = 256
_ending = logging.getLogger("roadshift")
_ids: ContextVar[Mapping[str, str]] = ContextVar("ids of what is worked on", default=MappingProxyType({}))


def configure_logs(*, as_json: bool = False) -> None:
    """Sets up this process's log, and by the environment that of the processes that it starts.

    Raises:
        StartupError: ROADSHIFT_LOG_FORMAT asks for another format.
    """
    wanted = JSON if as_json else os.environ.get(VARIABLE) or TEXT
    if wanted not in (TEXT, JSON):
        raise StartupError(f"{VARIABLE}={wanted} is no format of logs: use {TEXT} or {JSON}")
    os.environ[VARIABLE] = wanted
    handler = logging.StreamHandler()
    handler.addFilter(LibraryWarnings())
    handler.setFormatter(JsonFormatter() if wanted == JSON else logging.Formatter(_TEXT_FORMAT))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    if wanted == JSON:
        logging.captureWarnings(capture=True)
        sys.excepthook = lambda *error: _ending.critical("a defect ended the process", exc_info=error)
        threading.excepthook = lambda ended: _ending.critical(
            "a defect ended a thread", exc_info=ended.exc_value or ended.exc_type()
        )


def logs_json() -> bool:
    """What `configure_logs` found, or what a process was started with."""
    return os.environ.get(VARIABLE) == JSON


def tell_fatal(message: str) -> None:
    """The last words of a process that cannot go on, on stderr: "error: ...", or an object of level CRITICAL."""
    if logs_json():
        _ending.critical("%s", message)
    else:
        print(f"error: {message}", file=sys.stderr, flush=True)


def fatal_in(line: str) -> str | None:
    """The message, where a line is what `tell_fatal` writes."""
    if line.startswith("error: "):
        return line.removeprefix("error: ")
    if not line.startswith("{"):
        return None
    try:
        told = json.loads(line)
    except ValueError:
        return None
    return str(told.get("message")) if told.get("level") == "CRITICAL" else None


def request_id(metadata: Iterable[tuple[str, Any]] | None) -> str:
    """The caller's own out of a call's metadata, where it sends a sane one; else one that is made up."""
    given = dict(metadata or ()).get(REQUEST_ID_KEY)
    return given if isinstance(given, str) and _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def current_ids() -> Mapping[str, str]:
    """To be carried to another task by `note_ids`."""
    return _ids.get()


def note_ids(**ids: str) -> None:
    """Adds ids to what this task logs from now on, until it ends."""
    _ids.set({**_ids.get(), **ids})


@contextmanager
def working_on(**ids: str) -> Iterator[None]:
    """Adds ids to what is logged inside."""
    before = _ids.get()
    _ids.set({**before, **ids})
    try:
        yield
    finally:
        _ids.set(before)  # by value: a generator may be closed by another thread than began it


class _Seldom:
    """At most one line in a while of one thing; for any thread."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._next_s = 0.0
        self._unsaid = 0
        self._lock = threading.Lock()

    def unsaid(self) -> int | None:
        """Return how often nothing was said since the last line; None where nothing is to be said now."""
        with self._lock:
            now_s = time.monotonic()
            if now_s < self._next_s:
                self._unsaid += 1
                return None
            since, self._unsaid, self._next_s = self._unsaid, 0, now_s + self._every_s
        return since


class SeldomLog:
    """Logs at most one line in a while of what may happen again and again; each says how often since the last one."""

    def __init__(self, logger: logging.Logger, every_s: float = 60.0) -> None:
        self._logger = logger
        self._seldom = _Seldom(every_s)

    def warning(self, message: str) -> None:
        self._say(logging.WARNING, message, None)

    def error(self, message: str, error: BaseException) -> None:
        """With the error's traceback."""
        self._say(logging.ERROR, message, error)

    def _say(self, level: int, message: str, error: BaseException | None) -> None:
        if (unsaid := self._seldom.unsaid()) is not None:
            self._logger.log(level, "%s%s", message, _again(unsaid), exc_info=error)


class LibraryWarnings(logging.Filter):
    """Lets one warning a minute through of each place in a library that logs it, and of each kind of error there.

    Strangers can have libraries log: a web server each request that is none, an event loop each connection that it
    cannot take.
    """

    def __init__(self, every_s: float = 60.0) -> None:
        super().__init__()
        self._every_s = every_s
        self._places: dict[tuple[object, ...], _Seldom] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is logged; it says how often since the last such line."""
        if record.levelno < logging.WARNING or record.name.partition(".")[0] in _OWN_LOGGERS:
            return True
        error = record.exc_info[0] if record.exc_info else None
        place = (record.name, record.pathname, record.lineno, error)
        if place not in self._places and len(self._places) >= _MOST_PLACES:
            self._places.clear()
        unsaid = self._places.setdefault(place, _Seldom(self._every_s)).unsaid()
        if unsaid:
            record.msg, record.args = f"{record.getMessage()}{_again(unsaid)}", None
        return unsaid is not None


def _again(unsaid: int) -> str:
    return f" ({unsaid} more since the last such line)" if unsaid else ""


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        told = {
            "time": moment.replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_ids.get(),
        }
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=False)
