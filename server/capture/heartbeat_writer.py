"""Tells the root every second what this gateway has loaded, which plan it serves, and how its versions do."""

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from exchange.fleet.gateways import Heartbeat, VersionHealth, write_heartbeat
from exchange.storage import StorageRoot

BEAT_EVERY_S = 1.0


@dataclass(frozen=True)
class Vitals:
    """What heartbeats and metrics tell of a gateway; each may be asked by any thread, at any time."""

    plan_revision: Callable[[], int]
    versions: Callable[[], Mapping[int, VersionHealth]]
    shadow_dropped: Callable[[], int]
    engine_busy_s: Callable[[], float]
    """Since the start."""


class HeartbeatWriter:
    """`beat` is for one thread."""

    def __init__(
        self,
        *,
        root: StorageRoot,
        gateway: str,
        folder: Path,
        vitals: Vitals,
        presence_dropped: Callable[[], int],
        capture_dropped: Callable[[], int],
        erasures_applied: Callable[[], int],
    ) -> None:
        """
        Args:
            folder: the spool's; its disk is the one whose free space is told.
        """
        self._root = root
        self._gateway = gateway
        self._folder = folder
        self._vitals = vitals
        self._presence_dropped = presence_dropped
        self._capture_dropped = capture_dropped
        self._erasures_applied = erasures_applied
        self._started_at = datetime.now(UTC)
        self._last_s, self._last_busy_s = time.monotonic(), 0.0

    def beat(self) -> None:
        """Raises StorageError where the root does not take it."""
        heartbeat = Heartbeat(
            gateway=self._gateway,
            started_at=self._started_at,
            written_at=datetime.now(UTC),
            plan_revision=self._vitals.plan_revision(),
            versions=dict(self._vitals.versions()),
            free_bytes=shutil.disk_usage(self._folder).free,
            presence_dropped=self._presence_dropped(),
            capture_dropped=self._capture_dropped(),
            shadow_dropped=self._vitals.shadow_dropped(),
            erasures_applied=self._erasures_applied(),
            engine_busy_share=self._busy_share(),
        )
        write_heartbeat(self._root, heartbeat)

    def _busy_share(self) -> float:
        now_s, busy_s = time.monotonic(), self._vitals.engine_busy_s()
        share = (busy_s - self._last_busy_s) / max(now_s - self._last_s, 1e-9)
        self._last_s, self._last_busy_s = now_s, busy_s
        return min(1.0, max(0.0, share))
