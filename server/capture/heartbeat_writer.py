"""Tells the root every second what this gateway has loaded, which plan it serves, and how its versions do."""

import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from exchange.gateways import Heartbeat, VersionHealth, write_heartbeat
from exchange.storage import StorageRoot
from server.capture.served_frame import ServedFrame

BEAT_EVERY_S = 1.0
_LATENCIES = 512
"""So many of the last answered frames of a version."""


@dataclass
class _Counts:
    requests: int = 0
    errors: int = 0
    last_success_s: float | None = None
    latencies_s: deque[float] = field(default_factory=lambda: deque(maxlen=_LATENCIES))


class VersionCounts:
    """How each version does, since the start. `served` and `failed` are for the event loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[int, _Counts] = {}

    def served(self, frame: ServedFrame) -> None:
        with self._lock:
            counts = self._counts.setdefault(frame.answer.route.version, _Counts())
            counts.requests += 1
            counts.last_success_s = frame.served_s
            counts.latencies_s.append(frame.answer.stage_seconds.total)

    def failed(self, version: int) -> None:
        with self._lock:
            counts = self._counts.setdefault(version, _Counts())
            counts.requests += 1
            counts.errors += 1

    def health(self, loaded: Iterable[int]) -> dict[int, VersionHealth]:
        loaded = set(loaded)
        with self._lock:
            return {
                version: _health(self._counts.get(version, _Counts()), version in loaded)
                for version in sorted(loaded | set(self._counts))
            }


@dataclass(frozen=True)
class HeartbeatWriter:
    root: StorageRoot
    gateway: str
    started_at: datetime
    folder: Path
    """Its disk holds the spool."""
    counts: VersionCounts
    loaded_versions: Callable[[], Iterable[int]]
    plan_revision: Callable[[], int]
    presence_dropped: Callable[[], int]
    capture_dropped: Callable[[], int]
    erasures_applied: Callable[[], int]

    def beat(self) -> None:
        """Raises StorageError where the root does not take it."""
        heartbeat = Heartbeat(
            gateway=self.gateway,
            started_at=self.started_at,
            written_at=datetime.now(UTC),
            plan_revision=self.plan_revision(),
            versions=self.counts.health(self.loaded_versions()),
            free_bytes=shutil.disk_usage(self.folder).free,
            presence_dropped=self.presence_dropped(),
            capture_dropped=self.capture_dropped(),
            erasures_applied=self.erasures_applied(),
        )
        write_heartbeat(self.root, heartbeat)


def _health(counts: _Counts, loaded: bool) -> VersionHealth:
    p50_s, p99_s = np.percentile(counts.latencies_s, (50, 99)).tolist() if counts.latencies_s else (None, None)
    last_s = counts.last_success_s
    return VersionHealth(
        loaded=loaded,
        last_success=None if last_s is None else datetime.fromtimestamp(last_s, UTC),
        requests=counts.requests,
        errors=counts.errors,
        p50_s=p50_s,
        p99_s=p99_s,
    )
