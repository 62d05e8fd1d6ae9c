"""What pages show, made anew about once a second however many browsers look, and outside of the pages' loop."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from adaptation.control.rounds.round_state import NoSuchRound
from exchange.registry.releases import ReleaseError
from exchange.storage import StorageError
from exchange.storage.records import RecordError

View = TypeVar("View")
EVERY_S = 0.9
_log = logging.getLogger(__name__)
_PATIENCE_S = 1.5
"""For the first look; a page that has something to show waits for nothing."""


@dataclass(frozen=True)
class Seen(Generic[View]):
    """The last view that could be made, and why there is no newer one, where something hinders."""

    view: View | None = None
    at: datetime | None = None
    trouble: str = ""


class Look(Generic[View]):
    """One view, for any number of pages."""

    def __init__(self, make: Callable[[], View], reader: Executor, every_s: float = EVERY_S) -> None:
        self._make = make
        self._reader = reader
        self._every_s = every_s
        self._seen: Seen[View] = Seen()
        self._making: asyncio.Future[Seen[View]] | None = None
        self._next_s = 0.0

    async def now(self) -> Seen[View]:
        """Within a moment, whatever the storage does: the last one where the next takes longer."""
        loop = asyncio.get_running_loop()
        if self._making is None and time.monotonic() >= self._next_s:
            self._making = loop.run_in_executor(self._reader, self._made)
            self._making.add_done_callback(self._keep)
        if self._making is not None:
            await asyncio.wait({self._making}, timeout=_PATIENCE_S if self._seen.view is None else EVERY_S)
            if self._making is not None and self._seen == Seen():
                return Seen(trouble="the storage root has not answered yet")
        return self._seen

    def _keep(self, made: "asyncio.Future[Seen[View]]") -> None:
        self._making = None
        self._next_s = time.monotonic() + self._every_s
        self._seen = made.result()

    def _made(self) -> Seen[View]:
        try:
            return Seen(self._make(), datetime.now(UTC))
        except (NoSuchRound, OSError, RecordError, ReleaseError, StorageError) as error:
            trouble = " ".join(str(error).split())
        except Exception as error:
            _log.exception("a view of the console met a defect")
            trouble = f"a defect of the console, which the learner's log tells: {error!r}"
        return Seen(self._seen.view, self._seen.at, trouble)
