"""Who did what: the audit's newest entries."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from exchange.plan.plan_changes import DEFAULT
from exchange.registry.audit import FAILED, AuditEntry, read_audit
from exchange.storage import StorageRoot

BACK = timedelta(days=30)
MOST_SHOWN = 300
_CHANGE_WHAT_IS_SERVED = {"promote", "rollback", "reset", "try", "drop-candidate"}
"""Without a domain these are about the default."""


@dataclass(frozen=True)
class AuditLine:
    at: datetime
    who: str
    what: str
    failed: bool
    forced: bool
    version: int | None
    domain: str
    round_id: str | None
    why: str
    details: tuple[tuple[str, str], ...]
    """Whatever else the entry tells, by name."""


@dataclass(frozen=True)
class AuditView:
    lines: tuple[AuditLine, ...]
    """The newest first."""
    left_out: int
    """Older ones, within the days that are shown."""


class AuditReader:
    """Reads each entry once: none is ever changed. For one thread."""

    def __init__(self, root: StorageRoot) -> None:
        self._root = root
        self._entries: list[AuditEntry] = []

    def view(self) -> AuditView:
        """Raises RecordError or StorageError."""
        oldest = datetime.now(UTC) - BACK
        known = [entry for entry in self._entries if entry.at >= oldest]
        since = known[-1].at if known else oldest
        # Clocks differ between writers, so the last minute is read again.
        again = max(since - timedelta(minutes=1), oldest)
        self._entries = [entry for entry in known if entry.at < again] + read_audit(self._root, again)
        newest = self._entries[: -MOST_SHOWN - 1 : -1]
        return AuditView(tuple(map(_line, newest)), len(self._entries) - len(newest))


def _line(entry: AuditEntry) -> AuditLine:
    what = entry.what.removesuffix(FAILED)
    return AuditLine(
        at=entry.at,
        who=entry.who,
        what=what.replace("-", " "),
        failed=entry.what.endswith(FAILED),
        forced=entry.forced,
        version=entry.version,
        domain=entry.domain or (DEFAULT if what in _CHANGE_WHAT_IS_SERVED else ""),
        round_id=entry.round_id,
        why=entry.why,
        details=entry.facts,
    )
