"""Who did what, when and why: entries that are written once and never changed.

Told are rounds that are started, cancelled or forced past the gate; whatever changes what is served; pins, triggers,
decisions about priors, erasures, labels that were asked for or imported, and what was collected. `roadshift audit`
shows them, and `roadshift release gc` forgets them after `Retention.audit_age`.

An entry is written before the change that it tells of, so that no change goes without one; where the change then
fails, another entry says so. What changes nothing, such as an import of nothing new, has none.

Who did it is what a certificate or token shows of a caller, and what the caller claims to be called is only beside it
(`exchange.net.callers.Callers.who`). Names that the learner itself acts under nobody can claim.
"""

import getpass
import json
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import Field, JsonValue, StringConstraints

from exchange.storage import StorageError, StorageRoot
from exchange.storage.locations import AUDIT, DomainName, Version, audit_key, before_audit
from exchange.storage.readable_objects import read_each
from exchange.storage.records import Moment, Record

FAILED = "-failed"
REPAIR_PLAN = "repair-plan"
"""What an entry says of a plan that was written anew, without candidates."""
_LONGEST_WHY = 2000
_MOST_DETAILS, _LONGEST_DETAIL = 32, 256


class AuditEntry(Record):
    format: Literal[1] = 1
    at: Moment = Field(default_factory=lambda: datetime.now(UTC))
    who: str = Field(max_length=256)
    """user@host of a command at the root itself; of a caller `role:name (says NAME)`; or the learner by itself."""
    what: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z-]{0,63}$")]
    """Such as promote, rollback, start-round, erase; with `-failed` where it came to nothing."""
    version: Version | None = None
    domain: DomainName | None = None
    """None: the default."""
    round_id: str | None = None
    why: str = Field(default="", max_length=_LONGEST_WHY)
    forced: bool = False
    details: dict[str, JsonValue] = Field(default={})
    """Whatever else somebody who investigates needs; `record` bounds it."""

    @property
    def facts(self) -> tuple[tuple[str, str], ...]:
        """The details for people: names and values."""
        return tuple((name.replace("_", " "), _in_words(value)) for name, value in self.details.items())


def _in_words(value: JsonValue) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_in_words(each)}" for name, each in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(_in_words, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else "none" if value is None else str(value)


def user_at_host() -> str:
    """Who runs this process, for `AuditEntry.who`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container without a name for its user
        user = f"user-{os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def record(root: StorageRoot, entry: AuditEntry) -> None:
    """Details that are too long are cut. Raises StorageError where the entry could not be written."""
    details = {name: _bounded(value) for name, value in list(entry.details.items())[:_MOST_DETAILS]}
    bounded = entry.model_copy(update={"details": details})
    root.create(audit_key(entry.at, uuid.uuid4().hex[:8]), bounded.encode())


def _bounded(value: JsonValue) -> JsonValue:
    text = value if isinstance(value, str) else json.dumps(value)
    return value if len(text) <= _LONGEST_DETAIL else f"{text[:_LONGEST_DETAIL]}..."


@contextmanager
def audited(root: StorageRoot, entry: AuditEntry) -> Iterator[None]:
    """Records the entry before its block; and that the block failed, where it did and the storage still answers."""
    record(root, entry)
    try:
        yield
    except Exception as error:
        failed = {"at": datetime.now(UTC), "what": entry.what + FAILED, "why": str(error)[:_LONGEST_WHY]}
        with suppress(StorageError):
            record(root, entry.model_copy(update=failed))
        raise


def read_audit(root: StorageRoot, since: datetime | None = None) -> list[AuditEntry]:
    """All entries, the oldest first, or those of this moment and later ones; those left out that cannot be read.

    Raises:
        StorageError: the root does not answer.
    """
    infos = root.list_objects(AUDIT, after=before_audit(since) if since else "")
    return [entry for _, entry in read_each(root, infos, AuditEntry.decode)]
