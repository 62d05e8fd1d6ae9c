"""Who did what, when and why: entries that are written once and never changed.

Told are rounds that are started, cancelled or forced past the gate; whatever changes what is served; pins, triggers,
decisions about priors, erasures, labels that were asked for or imported, and what was collected. `roadshift audit`
shows them, and `roadshift release gc` forgets them after `Retention.audit_age`.

An entry is written before the change that it tells of, so that no change goes without one; where the change then
fails, another entry says so.
"""

import getpass
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import Field, JsonValue, StringConstraints

from exchange.locations import AUDIT, DomainName, audit_key, before_audit
from exchange.records import Record
from exchange.serving_plan import Version
from exchange.storage import ObjectMissing, StorageError, StorageRoot

FAILED = "-failed"
_LONGEST_WHY = 2000


class AuditEntry(Record):
    format: Literal[1] = 1
    at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    who: str = Field(max_length=256)
    """user@host, or the part of the learner that decided."""
    what: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z-]{0,63}$")]
    """Such as promote, rollback, start-round, erase; with `-failed` where it came to nothing."""
    version: Version | None = None
    domain: DomainName | None = None
    """None: the default."""
    round_id: str | None = None
    why: str = Field(default="", max_length=_LONGEST_WHY)
    forced: bool = False
    details: dict[str, JsonValue] = Field(default={})


def user_at_host() -> str:
    """Who runs this process, for `AuditEntry.who`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container without a name for its user
        user = f"user-{os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def record(root: StorageRoot, entry: AuditEntry) -> None:
    """Raises StorageError where the entry could not be written."""
    root.create(audit_key(entry.at, uuid.uuid4().hex[:8]), entry.encode())


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
    """All entries, the oldest first, or those of this moment and later ones.

    Raises:
        RecordError, StorageError: one cannot be read.
    """
    entries = []
    for info in root.list_objects(AUDIT, after=before_audit(since) if since else ""):
        with suppress(ObjectMissing):
            entries.append(AuditEntry.decode(root.read(info.key).data, info.key))
    return entries
