"""Who may write the serving plan: one holder, whose epoch is higher than that of everyone before.

No two clocks are compared. A holder renews the lease every few seconds; whoever wants it watches it for as long as it
lasts by the watcher's own clock, and takes it only if nothing changed in that time. A holder that could not renew for
that long changes nothing until it could again, which it cannot once somebody has taken the lease; and the epoch fences
whatever it may still try.
"""

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import ClassVar, Literal

from pydantic import Field

from exchange.storage import ObjectChanged, ObjectExists, StorageError, StorageRoot, StoredObject
from exchange.storage.locations import LEASE
from exchange.storage.records import Moment, Record, RecordError

LASTS_S = 15.0
_WATCH_PAUSE_S = 0.25
_SEIZING_ATTEMPTS = 8


class LeaseHeld(Exception):
    """Somebody else holds the lease; the message says who."""


class LeaseLost(Exception):
    """This holder may write no more."""


class LeaseLapsed(LeaseLost):
    """It may write no more until it has renewed the lease, if nobody else takes it meanwhile."""


class LeaseRecord(Record):
    REMEDY: ClassVar[str] = "restore it from a backup, or run roadshift repair"
    format: Literal[1] = 1
    epoch: int = Field(ge=1)
    holder: str = Field(max_length=256)
    lasts_s: float = Field(gt=0, le=3600)
    released: bool = False
    renewed_at: Moment
    """For people; nothing is decided by it."""
    nonce: str
    """Makes each renewal another content, and so another etag."""


class Lease:
    """A lease that was acquired. Keep it by `renew`, and give it back by `release`."""

    def __init__(self, root: StorageRoot, record: LeaseRecord, etag: str, renewed_s: float) -> None:
        self._root = root
        self._record = record
        self._etag = etag
        self._renewed_s = renewed_s
        self._lost = False
        self._renewing = threading.Lock()
        self.writing = threading.RLock()
        """Held by the thread of the holder that checks something and then changes the plan by it."""

    @classmethod
    def acquire(cls, root: StorageRoot, holder: str, *, lasts_s: float = LASTS_S, seize: bool = False) -> "Lease":
        """Takes the lease, after watching its holder for as long as it lasts.

        Args:
            holder: a name for people.
            seize: take it at once, whoever holds it: for an operator who knows that the holder must stop.

        Raises:
            LeaseHeld: its holder renewed it, or somebody else was quicker.
            StorageError, RecordError: it cannot be read or written.
        """
        root.check_conditional_writes()
        for _ in range(_SEIZING_ATTEMPTS if seize else 1):
            found = root.read_if_any(LEASE)
            epoch = 1
            if found is not None:
                current = LeaseRecord.decode(found.data, LEASE)
                epoch = current.epoch + 1
                if not (seize or current.released):
                    _watch(root, found, current)
            started_s = time.monotonic()
            record = _record(epoch, holder, lasts_s)
            try:
                if found is None:
                    etag = root.create(LEASE, record.encode())
                else:
                    etag = root.replace(LEASE, record.encode(), found.etag)
            except (ObjectExists, ObjectChanged):
                continue  # its holder has just renewed it, or somebody else was quicker
            return cls(root, record, etag, started_s)
        raise LeaseHeld(f"somebody else has just taken {root.url}/{LEASE}: one learner for a root")

    @property
    def epoch(self) -> int:
        return self._record.epoch

    @property
    def lasts_s(self) -> float:
        return self._record.lasts_s

    def check(self) -> None:
        """Raises LeaseLost where it is known to be lost; LeaseLapsed where it has not been renewed in time."""
        self._check_not_taken()
        if time.monotonic() - self._renewed_s >= self.lasts_s:
            raise LeaseLapsed(
                f"the lease on {self._root.url} could not be renewed for {self.lasts_s:g} s: nothing is changed until"
                " it can be again; see whether the root is away"
            )

    def renew(self) -> None:
        """Shows that nobody took it, however late. Calls may come from several threads.

        Raises:
            LeaseLost; RecordError, StorageError where it may work the next time.
        """
        with self._renewing:
            self._check_not_taken()
            started_s = time.monotonic()
            record = _record(self.epoch, self._record.holder, self.lasts_s)
            self._etag = self._replace(record)
            self._renewed_s = started_s

    def release(self) -> None:
        """Lets the next one take it at once."""
        with self._renewing:
            self._check_not_taken()
            self._replace(_record(self.epoch, self._record.holder, self.lasts_s, released=True))
            self._lost = True

    def _check_not_taken(self) -> None:
        if self._lost:
            raise self._taken()

    def _taken(self) -> LeaseLost:
        return LeaseLost(f"somebody else took the lease on {self._root.url}: this learner stops")

    def _replace(self, record: LeaseRecord) -> str:
        with suppress(ObjectChanged):
            return self._root.replace(LEASE, record.encode(), self._etag)
        # Nobody else writes this epoch: it would be a renewal of before, whose reply was lost for good.
        found = self._root.read_if_any(LEASE)
        if found is not None and LeaseRecord.decode(found.data, LEASE).epoch == self.epoch:
            with suppress(ObjectChanged):
                return self._root.replace(LEASE, record.encode(), found.etag)
        self._lost = True
        raise self._taken()


@contextmanager
def holding(root: StorageRoot, holder: str, *, lasts_s: float = LASTS_S, seize: bool = False) -> Iterator[Lease]:
    """Holds the lease, renewed in the background; whoever writes learns from `Lease.check` when it is lost.

    The root's patience should be a small part of what the lease lasts.

    Raises what `Lease.acquire` raises.
    """
    lease = Lease.acquire(root, holder, lasts_s=lasts_s, seize=seize)
    stop = threading.Event()

    def keep() -> None:
        while not stop.wait(lasts_s / 4):
            try:
                lease.renew()
            except LeaseLost:
                return
            except (RecordError, StorageError):
                continue  # a lapsed lease may be renewed, too

    renewing = threading.Thread(target=keep, name="lease", daemon=True)
    renewing.start()
    try:
        yield lease
    finally:
        stop.set()
        renewing.join()
        with suppress(LeaseLost, RecordError, StorageError):  # it runs out
            lease.release()


def _watch(root: StorageRoot, found: StoredObject, current: LeaseRecord) -> None:
    """Returns when the lease has not changed for as long as it lasts."""
    over_s = time.monotonic() + current.lasts_s
    while time.monotonic() < over_s:
        time.sleep(min(_WATCH_PAUSE_S, current.lasts_s / 4))
        again = root.read_if_any(LEASE)
        if again is None or again.etag != found.etag:
            raise LeaseHeld(f"{current.holder} holds {root.url}/{LEASE}: stop it first; one learner for a root")


def _record(epoch: int, holder: str, lasts_s: float, *, released: bool = False) -> LeaseRecord:
    return LeaseRecord(
        epoch=epoch,
        holder=holder,
        lasts_s=lasts_s,
        released=released,
        renewed_at=datetime.now(UTC),
        nonce=uuid.uuid4().hex,
    )
