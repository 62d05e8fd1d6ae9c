"""What one gateway leaves in the storage root: presence, captured frames and heartbeats."""

import asyncio
import logging
import re
import socket
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from exchange.fleet.pseudonyms import PseudonymKeyError, Pseudonyms
from exchange.net.listening import StartupError
from exchange.registry.retention import Retention
from exchange.storage import JoinedRoots, StorageError, open_root
from exchange.storage.unreadable_objects import UnreadableObjects
from server.capture.background import Background
from server.capture.capture_writer import LOOK_EVERY_S, CaptureWriter
from server.capture.drives import DriveTracker
from server.capture.erased_vehicles import READ_EVERY_S, ErasedVehicles, Stage
from server.capture.heartbeat_writer import BEAT_EVERY_S, HeartbeatWriter, Vitals
from server.capture.presence_writer import PUBLISH_EVERY_S, PresenceWriter
from server.capture.shard_uploader import UPLOAD_EVERY_S, ShardUploader
from server.capture.spool import Spool, SpoolTaken
from server.frames.served_frame import ServedFrame

_log = logging.getLogger(__name__)
_HASTY_PATIENCE_S = 1.0
"""For the plan and heartbeats, which are worthless when late."""
_PATIENCE_S = 60.0
_LAST_STEP_WITHIN_S = 5.0


@dataclass(frozen=True)
class RootSettings:
    url: str
    folder: Path
    """For the spool, and for what is not given here; one gateway each."""
    gateway: str | None = None
    """Its name in the root; None makes one up from the host's, and remembers it."""
    pseudonym_key: Path | None = None
    """The same for all gateways of a root; None makes one up, and remembers it."""
    capture_interval_s: float = 60.0


class RootLink:
    """Takes note of every frame on the event loop; all else is done by threads."""

    def __init__(self, settings: RootSettings) -> None:
        try:
            joined = JoinedRoots(settings.folder)
            joined_before = settings.url in joined
            self.hasty_root = open_root(settings.url, _HASTY_PATIENCE_S, joined_before=joined_before)
            self.root = open_root(settings.url, _PATIENCE_S, joined_before=joined_before)
            joined.add(settings.url)
            settings.folder.mkdir(parents=True, exist_ok=True)
            self.gateway = settings.gateway or _remembered_name(settings.folder / "gateway_name")
            key_file = settings.pseudonym_key or settings.folder / "pseudonym.key"
            pseudonyms = Pseudonyms.from_file(key_file, create=settings.pseudonym_key is None)
            self._spool = Spool(settings.folder, self.gateway)
        except (StorageError, PseudonymKeyError, SpoolTaken, OSError) as error:
            raise StartupError(f"cannot join {settings.url}: {error}") from error
        self._folder = settings.folder
        self._drives = DriveTracker()
        self._presence = PresenceWriter(self.root, self.gateway, pseudonyms)
        self._capture = CaptureWriter(self._spool, self.gateway, pseudonyms, settings.capture_interval_s)
        self._uploader = ShardUploader(self.root, self._spool, Retention())
        self._erased = ErasedVehicles(self.root)
        self._publishing = Stage(self._erased, self._presence.forget, self._presence.publish)
        self._looking = Stage(self._erased, self._capture.forget, self._capture.look)
        self._uploading = Stage(self._erased, lambda _: None, self._upload, after=self._looking)

    def served(self, frame: ServedFrame) -> None:
        try:
            self._take_note(frame)
        except Exception:
            _log.exception("a served frame left nothing behind: a defect of the gateway")  # and no fault of the answer

    def _take_note(self, frame: ServedFrame) -> None:
        request = frame.request
        drive = self._drives.name(request.vehicle, request.drive, frame.answer.route.domain, frame.captured_s)
        frame = replace(frame, drive=drive)
        self._presence.add(frame)
        self._capture.add(frame)

    @property
    def presence_dropped(self) -> int:
        return self._presence.dropped

    @property
    def capture_dropped(self) -> int:
        return self._capture.dropped

    @property
    def capture_conflicts(self) -> int:
        return self._uploader.conflicts

    @property
    def unreadable(self) -> UnreadableObjects:
        return self.root.unreadable

    @asynccontextmanager
    async def joined(self, vitals: Vitals) -> AsyncIterator[None]:
        """Works until the end, and then hands on what it still has, as far as the root takes it."""
        heartbeat = HeartbeatWriter(
            root=self.hasty_root,
            gateway=self.gateway,
            folder=self._folder,
            vitals=vitals,
            presence_dropped=lambda: self.presence_dropped,
            capture_dropped=lambda: self.capture_dropped,
            erasures_applied=lambda: min(self._publishing.done, self._uploading.done),
        )
        threads = [
            Background("erasures", self._erased.read, READ_EVERY_S),
            Background("presence", self._publishing.step, PUBLISH_EVERY_S),
            Background("capture", self._looking.step, LOOK_EVERY_S, at_the_end=self._capture.seal),
            Background("shards", self._uploading.step, UPLOAD_EVERY_S),
            Background("heartbeat", heartbeat.beat, BEAT_EVERY_S),
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            for thread in threads:
                await asyncio.to_thread(thread.stop, _LAST_STEP_WITHIN_S)
            self._spool.close()

    def _upload(self) -> None:
        if self._erased.are_known:  # the spool may hold frames from before somebody asked to erase them
            self._uploader.upload()


def _remembered_name(file: Path) -> str:
    """The host's name and something that no other gateway has, the same each time."""
    if not file.exists():
        host = re.sub(r"[^a-z0-9-]+", "-", socket.gethostname().lower()).strip("-")[:48] or "gateway"
        partial = file.with_suffix(".partial")
        partial.write_text(f"{host}-{uuid.uuid4().hex[:8]}\n")
        partial.rename(file)
    return file.read_text().strip()
