"""Brings sealed shards from the spool to the root, and keeps the root within its bounds."""

import hashlib
import logging
import time
from datetime import UTC, datetime

from exchange.failpoints import failpoint
from exchange.registry.retention import Retention, trim_frames, trim_presence
from exchange.storage import StorageRefused, StorageRoot
from server.capture.spool import Spool

UPLOAD_EVERY_S = 1.0
TRIM_FRAMES_EVERY_S, TRIM_PRESENCE_EVERY_S = 60.0, 3600.0
_log = logging.getLogger(__name__)


class ShardUploader:
    """For one thread, so that a slow root keeps nobody from looking at frames."""

    def __init__(self, root: StorageRoot, spool: Spool, retention: Retention) -> None:
        self._root = root
        self._spool = spool
        self._retention = retention
        self._next_frames_s = self._next_presence_s = time.monotonic()
        self._conflicting: dict[str, tuple[str, str]] = {}
        """By key: the SHA-256 of the shard here and the etag of the other content there, when they were compared."""
        self.conflicts = 0
        """Shards whose name the root has with another content, since the start."""

    def upload(self) -> None:
        """Uploads the waiting shards; one whose name is taken by another content stays in the spool.

        Raises:
            StorageError: what was not uploaded is tried again the next time.
        """
        waiting = self._spool.waiting()
        keys = {self._spool.key_of(shard) for shard in waiting}
        self._conflicting = {key: known for key, known in self._conflicting.items() if key in keys}
        failure: StorageRefused | None = None
        for shard in waiting:
            data = self._spool.read(shard)
            try:
                is_stored = data is not None and self._is_stored(self._spool.key_of(shard), data)
            except StorageRefused as error:  # what lies in this shard's way is not in the others'
                failure = error
                continue
            if is_stored:
                failpoint("spool.after-upload")
                shard.unlink(missing_ok=True)
        self._trim()
        if failure is not None:
            raise failure

    def _is_stored(self, key: str, data: bytes) -> bool:
        """Whether the root has this content, also from a process that was killed before it deleted the shard here."""
        sha256 = hashlib.sha256(data).hexdigest()
        known = self._conflicting.get(key)
        if known is not None and known == (sha256, self._root.etag_if_any(key)):
            return False
        found = self._root.create_or_read(key, data)
        if found.data == data:
            return True
        if known is None:
            self.conflicts += 1
            _log.error(
                "%s/%s has another content than this gateway's shard, which stays in the spool: see whether another"
                " gateway has the same name, or delete the object to have the shard uploaded",
                self._root.url,
                key,
            )
        self._conflicting[key] = (sha256, found.etag)
        return False

    def _trim(self) -> None:
        if time.monotonic() >= self._next_frames_s:
            self._next_frames_s = time.monotonic() + TRIM_FRAMES_EVERY_S
            trim_frames(self._root, self._retention, datetime.now(UTC))
        if time.monotonic() >= self._next_presence_s:
            self._next_presence_s = time.monotonic() + TRIM_PRESENCE_EVERY_S
            trim_presence(self._root, self._retention, datetime.now(UTC))
