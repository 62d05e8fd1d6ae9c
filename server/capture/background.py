"""A thread that does one small thing again and again, and outlives whatever goes wrong in it.

Its priority is that of the gateway: a thread of a lower one that the system puts aside while it holds the interpreter's
lock would keep every answer waiting.
"""

import logging
import threading
from collections.abc import Callable

from exchange.storage import StorageError

_log = logging.getLogger(__name__)


class Background:
    """Takes a step every few seconds, from `start` to `stop`; a failing step is tried again."""

    def __init__(
        self, name: str, step: Callable[[], None], every_s: float, *, at_the_end: Callable[[], None] | None = None
    ) -> None:
        self._step = step
        self._at_the_end = at_the_end
        self._every_s = every_s
        self._stop = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, within_s: float) -> None:
        """Ends after a last step; a step that hangs for longer is left behind."""
        self._stop.set()
        self._thread.join(within_s)

    def _run(self) -> None:
        stopping = False
        while not stopping:
            stopping = self._stop.wait(self._every_s)
            self._try(self._step)
        if self._at_the_end is not None:
            self._try(self._at_the_end)

    def _try(self, step: Callable[[], None]) -> None:
        try:
            step()
        except (StorageError, OSError) as error:
            if not self._failing:
                _log.warning("%s: %s; trying again", self._thread.name, error)
            self._failing = True
        except Exception:
            _log.exception("%s met a defect of the gateway", self._thread.name)
        else:
            if self._failing:
                _log.info("%s works again", self._thread.name)
            self._failing = False
