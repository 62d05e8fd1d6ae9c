"""Brings sealed shards from the spool to the root, and keeps the root within its bounds."""

import contextlib
import time
from datetime import UTC, datetime

from exchange.failpoints import failpoint
from exchange.retention import Retention, trim_frames, trim_presence
from exchange.storage import ObjectExists, StorageRoot
from server.capture.spool import Spool

UPLOAD_EVERY_S = 1.0
TRIM_FRAMES_EVERY_S, TRIM_PRESENCE_EVERY_S = 60.0, 3600.0


class ShardUploader:
    """For one thread, so that a slow root keeps nobody from looking at frames."""

    def __init__(self, root: StorageRoot, spool: Spool, retention: Retention) -> None:
        self._root = root
        self._spool = spool
        self._retention = retention
        self._next_frames_s = self._next_presence_s = time.monotonic()

    def upload(self) -> None:
        """Raises StorageError; what was not uploaded is tried again the next time."""
        for shard in self._spool.waiting():
            data = self._spool.read(shard)
            if data is None:
                continue
            with contextlib.suppress(ObjectExists):  # uploaded by a process that was killed before it deleted it here
                self._root.create(self._spool.key_of(shard), data)
            failpoint("spool.after-upload")
            shard.unlink(missing_ok=True)
        self._trim()

    def _trim(self) -> None:
        if time.monotonic() >= self._next_frames_s:
            self._next_frames_s = time.monotonic() + TRIM_FRAMES_EVERY_S
            trim_frames(self._root, self._retention, datetime.now(UTC))
        if time.monotonic() >= self._next_presence_s:
            self._next_presence_s = time.monotonic() + TRIM_PRESENCE_EVERY_S
            trim_presence(self._root, self._retention, datetime.now(UTC))
