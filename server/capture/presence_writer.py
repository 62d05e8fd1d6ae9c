"""A presence row for every served frame, brought to the root every few seconds."""

import threading
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from exchange.fleet.presence import PresenceRow, PresenceRows
from exchange.fleet.pseudonyms import Pseudonyms, vehicle_of_drive
from exchange.storage import ObjectChanged, ObjectExists, StorageError, StorageRoot
from exchange.storage.locations import presence_key
from server.frames.served_frame import ServedFrame

PUBLISH_EVERY_S = 2.0
ROWS_OF_A_PART = 2048
MAX_WAITING_ROWS = 65_536
"""While the root does not take rows, so many wait; about 15 MB."""


class _Added(NamedTuple):
    """A row as it comes from the event loop."""

    domain: str
    vehicle: str
    drive: str
    served_s: float
    captured_s: float
    version: int
    presence_K: NDArray[np.float16]
    mean_probability_K: NDArray[np.float16]
    mean_confidence: float


@dataclass
class _Part:
    """Rows of one domain and hour, the first `published` of which are in the root."""

    hour: datetime
    number: int
    rows: list[PresenceRow] = field(default_factory=list)
    published: int = 0
    etag: str | None = None
    attempt: tuple[bytes, int] | None = None
    """A content, and its number of rows, of which nobody knows whether it arrived: nothing else is tried before."""

    @property
    def is_over(self) -> bool:
        return len(self.rows) >= ROWS_OF_A_PART or datetime.now(UTC) - self.hour > timedelta(hours=1)


class PresenceWriter:
    """`add` is for the event loop; `publish` for one thread."""

    def __init__(self, root: StorageRoot, gateway: str, pseudonyms: Pseudonyms) -> None:
        self._root = root
        self._gateway = gateway
        self._pseudonyms = pseudonyms
        self._lock = threading.Lock()
        self._added: deque[_Added] = deque()
        self._parts: dict[str, list[_Part]] = {}
        self._last_number: dict[tuple[str, datetime], int] = {}
        self._waiting = 0
        self.dropped = 0
        """Rows that found no place, since the start."""

    def add(self, frame: ServedFrame) -> None:
        with self._lock:
            if self._waiting >= MAX_WAITING_ROWS:
                self.dropped += 1
                return
            self._waiting += 1
        answer, request = frame.answer, frame.request
        added = _Added(
            answer.route.domain,
            request.vehicle,
            frame.drive,
            frame.served_s,
            frame.captured_s,
            answer.route.version,
            answer.presence_K.astype(np.float16),
            answer.mean_probability_K.astype(np.float16),
            answer.mean_confidence,
        )
        self._added.append(added)

    def publish(self) -> None:
        """Brings all rows to the root that were added before.

        Raises:
            StorageError: some could not be; they are tried again the next time.
        """
        self._sort_in_all()
        failure: StorageError | None = None
        for domain in list(self._parts):
            try:
                self._publish_domain(domain)
            except StorageError as error:  # the other domains' rows may get through
                failure = error
        if failure is not None:
            raise failure

    def forget(self, vehicle: str) -> None:
        """Drops the rows of a vehicle's pseudonym that have not arrived, and those that would be written again."""
        self._sort_in_all()
        for parts in self._parts.values():
            for part in parts:
                published, waiting = (
                    [row for row in rows if vehicle_of_drive(row.drive) != vehicle]
                    for rows in (part.rows[: part.published], part.rows[part.published :])
                )
                self._settled(len(part.rows) - part.published - len(waiting))
                if len(published) + len(waiting) < len(part.rows):
                    part.rows, part.published, part.attempt = published + waiting, len(published), None

    def _sort_in_all(self) -> None:
        while self._added:
            added = self._added.popleft()
            hour = datetime.fromtimestamp(added.served_s, UTC).replace(minute=0, second=0, microsecond=0)
            parts = self._parts.setdefault(added.domain, [])
            if not parts or parts[-1].hour != hour or len(parts[-1].rows) >= ROWS_OF_A_PART:
                parts.append(_Part(hour, self._next_number(added.domain, hour)))
            parts[-1].rows.append(self._row(added))

    def _row(self, added: _Added) -> PresenceRow:
        return PresenceRow(
            added.captured_s,
            self._pseudonyms.drive(added.vehicle, added.drive),
            added.version,
            added.presence_K,
            added.mean_probability_K,
            added.mean_confidence,
        )

    def _publish_domain(self, domain: str) -> None:
        parts = self._parts[domain]
        while parts:
            self._publish_part(domain, parts[0])
            if len(parts) == 1 and not parts[0].is_over:
                return
            parts.pop(0)
        del self._parts[domain]

    def _publish_part(self, domain: str, part: _Part) -> None:
        while part.attempt is not None or part.published < len(part.rows):
            if part.attempt is None:
                part.attempt = (PresenceRows.of(part.rows).encode(), len(part.rows))
            data, count = part.attempt
            try:
                part.etag = self._put(presence_key(domain, self._gateway, part.hour, part.number), data, part.etag)
            except ObjectExists:  # of this gateway before it was started anew: the rows go by another number
                part.number = self._next_number(domain, part.hour)
            except ObjectChanged:  # by an erasure: what it left stays, and what is new begins another part
                part.rows, part.published = part.rows[part.published :], 0
                part.number, part.etag, part.attempt = self._next_number(domain, part.hour), None, None
            else:
                self._settled(count - part.published)
                part.published, part.attempt = count, None

    def _put(self, key: str, data: bytes, etag: str | None) -> str:
        """Also finds out that this very content arrived some time before, without anybody knowing."""
        try:
            return self._root.create(key, data) if etag is None else self._root.replace(key, data, etag)
        except (ObjectExists, ObjectChanged):
            found = self._root.read_if_any(key)
            if found is not None and found.data == data:
                return found.etag
            raise

    def _next_number(self, domain: str, hour: datetime) -> int:
        self._last_number = {place: number for place, number in self._last_number.items() if place[1] >= hour}
        number = self._last_number.get((domain, hour), -1) + 1
        self._last_number[domain, hour] = number
        return number

    def _settled(self, rows: int) -> None:
        with self._lock:
            self._waiting -= rows
