"""Captured frames that cannot be read and are left out: each is logged and counted once.

Nothing is deleted for it: shards and frames stay in the root until they are too old, or somebody restores them.
"""

import hashlib
import logging
import threading
from collections import Counter, OrderedDict
from typing import NamedTuple

from exchange.fleet.captured_images import decode_rgb
from exchange.fleet.frames import CapturedFrame
from exchange.images.labels import LabelImageError, decode_index_png
from exchange.storage.records import RecordError

MOST_KNOWN = 8192
"""Frames whose state is remembered, of the readable ones and of the others; one that is forgotten is told again."""
_log = logging.getLogger(__name__)

_Seen = tuple[str, str, bytes]


class LeftOut(NamedTuple):
    """A frame, or a whole shard."""

    domain: str
    shard: str
    why: str
    """Names the frame, or the shard."""
    is_shard: bool


class LeftOutFrames:
    """Unreadable frames and shards that this process has met. Safe to call from any thread."""

    def __init__(self) -> None:
        self.frames: Counter[str] = Counter()
        """By domain, since the process began."""
        self.shards: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._readable: OrderedDict[_Seen, None] = OrderedDict()
        self._left_out: OrderedDict[_Seen, LeftOut] = OrderedDict()

    def why(self, shard: str, frame: CapturedFrame) -> str:
        """Return why a shard's frame cannot be used; empty where it can. Frames seen before are not decoded again."""
        seen = (shard, frame.metadata.key, _digest(frame))
        with self._lock:
            if seen in self._readable:
                return ""
            if (known := self._left_out.get(seen)) is not None:
                return known.why
        try:
            _check(frame)
        except RecordError as error:
            why = " ".join(str(error).split())
            self._note(seen, LeftOut(frame.metadata.domain, shard, why, is_shard=False))
            return why
        with self._lock:
            self._readable[seen] = None
            _forget_oldest(self._readable)
        return ""

    def is_readable(self, shard: str, frame: CapturedFrame) -> bool:
        return not self.why(shard, frame)

    def note_shard(self, domain: str, shard: str, error: Exception) -> None:
        """Note a shard that is damaged as a whole, or may not be read."""
        why = " ".join(str(error).split())
        self._note((shard, "", b""), LeftOut(domain, shard, why, is_shard=True))

    def of(self, domain: str) -> list[LeftOut]:
        """Return the domain's, in the order in which they were found."""
        with self._lock:
            return [left for left in self._left_out.values() if left.domain == domain]

    def _note(self, seen: _Seen, left: LeftOut) -> None:
        with self._lock:
            if seen in self._left_out:
                return
            self._left_out[seen] = left
            _forget_oldest(self._left_out)
            (self.shards if left.is_shard else self.frames)[left.domain] += 1
        if left.is_shard:
            _log.warning("damaged shard left out: %s", left.why)
        else:
            _log.warning("unreadable frame left out: %s: %s", left.shard, left.why)


def _check(frame: CapturedFrame) -> None:
    """Raises RecordError where the image or the answer to it cannot be read, or one is not of the frame's size."""
    metadata = frame.metadata
    decode_rgb(frame)
    for what, png in (("labels", frame.labels_png), ("confidence", frame.confidence_png)):
        try:
            found_hw = decode_index_png(png).shape
        except LabelImageError as error:
            raise RecordError(f"{metadata.key}'s {what} cannot be read: {error}") from error
        if found_hw != metadata.size_hw:
            raise RecordError(f"{metadata.key}'s {what} are of {found_hw} pixels where {metadata.size_hw} belong")


def _digest(frame: CapturedFrame) -> bytes:
    """Of all that `_check` looks at: a frame that is restored is looked at anew."""
    digest = hashlib.sha256(f"{frame.metadata.image} {frame.metadata.size_hw}".encode())
    for part in (frame.image, frame.labels_png, frame.confidence_png):
        digest.update(part)
    return digest.digest()


def _forget_oldest(known: OrderedDict[_Seen, None] | OrderedDict[_Seen, LeftOut]) -> None:
    while len(known) > MOST_KNOWN:
        known.popitem(last=False)
