"""Looks at every served frame, and keeps some of them in the spool."""

import random
import threading
import time
import uuid
from collections import OrderedDict, deque
from datetime import UTC, datetime

import cv2
import numpy as np
from numpy.typing import NDArray

from exchange.fleet.frames import FORMAT_OF_EXTENSION, CapturedFrame, FrameMetadata, KeptFor, encode_members
from exchange.fleet.pseudonyms import Pseudonyms
from exchange.images.frame_fitting import restore_labels
from exchange.images.labels import encode_gray_png, encode_palette_png
from server.capture.sampling import DomainSample
from server.capture.spool import Spool
from server.frames.served_frame import ServedFrame

LOOK_EVERY_S = 0.25
MAX_WAITING_FRAMES = 64
MAX_WAITING_BYTES = 128 << 20
MAX_WAITING_SHARD_BYTES = 1 << 30
"""In the spool while the root does not take them; then the oldest go."""

_THUMBNAIL_HW = (16, 32)
_SAME_BELOW = 2.0
"""Two frames of a drive are near-duplicates where their thumbnails differ by less, in mean gray levels of 255."""
_DRIVES_REMEMBERED = 1024
_EXTENSIONS = {image_format: extension for extension, image_format in FORMAT_OF_EXTENSION.items()}


class CaptureWriter:
    """`add` is for the event loop; `look` for one thread."""

    def __init__(self, spool: Spool, gateway: str, pseudonyms: Pseudonyms, interval_s: float) -> None:
        self._spool = spool
        self._gateway = gateway
        self._pseudonyms = pseudonyms
        self._interval_s = interval_s
        self._next_seal_s = time.monotonic() + interval_s
        self._lock = threading.Lock()
        self._waiting: deque[ServedFrame] = deque()
        self._waiting_bytes = 0
        self._samples: dict[str, DomainSample] = {}
        self._thumbnails: OrderedDict[tuple[str, str], NDArray[np.float64]] = OrderedDict()
        self.dropped = 0
        """Frames that nobody looked at, or that were kept and then lost, since the start."""
        self.near_duplicates = 0

    def add(self, frame: ServedFrame) -> None:
        with self._lock:
            full = len(self._waiting) >= MAX_WAITING_FRAMES
            if full or self._waiting_bytes + frame.size_bytes > MAX_WAITING_BYTES:
                self.dropped += 1
                return
            self._waiting.append(frame)
            self._waiting_bytes += frame.size_bytes

    def look(self) -> None:
        """Decides about all frames that wait, and seals the interval's shards when it is over.

        Raises:
            OSError: the spool's disk does not take them.
        """
        while self._waiting:
            with self._lock:
                frame = self._waiting.popleft()
                self._waiting_bytes -= frame.size_bytes
            self._consider(frame)
        if time.monotonic() >= self._next_seal_s:
            self.seal()

    def seal(self) -> None:
        """Ends the interval: what was kept becomes shards."""
        self._next_seal_s = time.monotonic() + self._interval_s
        self._spool.seal()
        for sample in self._samples.values():
            sample.begin_interval()
        self.dropped += self._spool.drop_oldest(MAX_WAITING_SHARD_BYTES)

    def forget(self, vehicle: str) -> None:
        """Takes a vehicle's pseudonym out of the spool; frames that still wait are looked at first."""
        self.look()
        self._spool.forget(vehicle)

    def _consider(self, frame: ServedFrame) -> None:
        domain = frame.answer.route.domain
        if self._is_near_duplicate(frame):
            self.near_duplicates += 1
            return
        key = f"{int(frame.served_s * 1e6)}-{uuid.uuid4().hex[:8]}"
        sample = self._samples.setdefault(domain, DomainSample(random.getrandbits(64)))
        kept = sample.offer(key, frame.answer.mean_confidence, frame.answer.class_fractions_K)
        if kept is None:
            return
        if kept.evicted is not None:
            self._spool.evict(domain, kept.evicted)
        try:
            self._spool.keep(domain, key, encode_members(self._captured(frame, key, kept.kept_for)))
        except OSError:
            self.dropped += 1
            raise

    def _is_near_duplicate(self, frame: ServedFrame) -> bool:
        """Of the last frame of its drive that was none."""
        drive = (frame.request.vehicle, frame.drive)
        rows, columns = frame.valid_hw
        small_HW3 = cv2.resize(frame.frame_HW3[:rows, :columns], _THUMBNAIL_HW[::-1], interpolation=cv2.INTER_AREA)
        thumbnail_HW = small_HW3.mean(axis=-1)
        last_HW = self._thumbnails.get(drive)
        if last_HW is not None and np.abs(thumbnail_HW - last_HW).mean() < _SAME_BELOW:
            return True
        self._thumbnails[drive] = thumbnail_HW
        self._thumbnails.move_to_end(drive)
        if len(self._thumbnails) > _DRIVES_REMEMBERED:
            self._thumbnails.popitem(last=False)
        return False

    def _captured(self, frame: ServedFrame, key: str, kept_for: KeptFor) -> CapturedFrame:
        request, answer, output = frame.request, frame.answer, frame.output
        metadata = FrameMetadata(
            key=key,
            domain=answer.route.domain,
            gateway=self._gateway,
            vehicle=self._pseudonyms.vehicle(request.vehicle),
            drive=self._pseudonyms.drive(request.vehicle, frame.drive),
            captured_at=datetime.fromtimestamp(frame.captured_s, UTC),
            model_version=answer.route.version,
            prior_id=answer.route.prior_id,
            image=_EXTENSIONS[request.frame.format],
            size_hw=frame.original_hw,
            mean_confidence=answer.mean_confidence,
            class_fractions=tuple(answer.class_fractions_K.tolist()),
            presence=tuple(answer.presence_K.tolist()),
            mean_probability=tuple(answer.mean_probability_K.tolist()),
            kept_for=kept_for,
        )
        labels_HW, confidence_HW = (
            restore_labels(map_HW, frame.valid_hw, frame.original_hw)
            for map_HW in (output.labels_HW, output.confidence_HW)
        )
        return CapturedFrame(
            metadata, request.frame.data, encode_palette_png(labels_HW), encode_gray_png(confidence_HW)
        )
