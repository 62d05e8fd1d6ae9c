"""What another version makes of a captured frame: asked for by people who look, one at a time, and kept for a while."""

import os
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

from exchange.fleet.captured_images import decode_rgb
from exchange.fleet.frames import CapturedFrame
from exchange.jobs.messages import Message, read_message, write_message
from exchange.label_space import NUM_CLASSES
from exchange.plan.serving_plan import read_plan
from exchange.registry import fetch_release
from exchange.storage import StorageRoot

MOST_KEPT = 64
MOST_WAITING = 4
_IDLE_S = 60.0
_PATIENCE_S = 120.0


class CannotLabel(Exception):
    """The message says why, and what to do."""


class _Asked(NamedTuple):
    shard: str
    key: str
    version: int
    prior_id: str


class Relabelling:
    """Calls come from any thread, and wait for each other."""

    def __init__(self, root: StorageRoot, cache: Path) -> None:
        """`cache` is where the learner keeps its copies of releases."""
        self._root = root
        self._cache = cache
        self._turn = threading.Lock()
        self._places = threading.BoundedSemaphore(MOST_WAITING)
        self._kept: OrderedDict[_Asked, bytes] = OrderedDict()
        self._worker: _Worker | None = None
        self._ends: threading.Timer | None = None

    def labels_png(self, shard: str, frame: CapturedFrame, version: int) -> bytes:
        """A version's labels for a frame, with the prior that the plan has for it now; a palette PNG of its size.

        Raises:
            CannotLabel: it cannot be done here, takes too long, or too many wait.
            ReleaseError: there is no such release, or it is collected.
            OSError, RecordError, StorageError: something cannot be read or written.
        """
        stored, metadata = read_plan(self._root), frame.metadata
        served = None if stored is None else stored.plan.of(metadata.domain)
        ratio = (0.0,) * NUM_CLASSES if served is None else served.log_prior_ratio.get(version, (0.0,) * NUM_CLASSES)
        asked = _Asked(shard, metadata.key, version, "none" if served is None else served.prior_id)
        if (known := self._kept.get(asked)) is not None:
            return known
        if not self._places.acquire(blocking=False):
            raise CannotLabel(f"{MOST_WAITING} frames wait to be labelled already: try again in a moment")
        try:
            with self._turn:
                self._kept[asked] = self._asked_of_a_worker(version, frame, ratio)
                while len(self._kept) > MOST_KEPT:
                    self._kept.popitem(last=False)
                return self._kept[asked]
        finally:
            self._places.release()

    def close(self) -> None:
        with self._turn:
            self._end_worker()

    def _asked_of_a_worker(self, version: int, frame: CapturedFrame, ratio: tuple[float, ...]) -> bytes:
        if self._ends is not None:
            self._ends.cancel()
        if self._worker is None or self._worker.version != version or not self._worker.is_alive:
            self._end_worker()
            self._worker = _Worker(fetch_release(self._root, version, self._cache), version)
        try:
            return self._worker.labels_png(frame, ratio)
        except CannotLabel:
            self._end_worker()
            raise
        finally:
            self._ends = threading.Timer(_IDLE_S, self.close)
            self._ends.daemon = True
            self._ends.start()

    def _end_worker(self) -> None:
        if self._ends is not None:
            self._ends.cancel()
        if self._worker is not None:
            self._worker.kill()
            self._worker = None


class _Worker:
    """One version's engine, in a process of its own."""

    def __init__(self, release: Path, version: int) -> None:
        """Raises CannotLabel where the engine does not load here."""
        self.version = version
        command = [sys.executable, "-m", "adaptation.learning.workers", "relabel", str(release), str(os.getpid())]
        self._process = subprocess.Popen(  # noqa: S603 - this program's own module
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            self._answer("it was loaded")
        except CannotLabel:
            self.kill()
            raise

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def labels_png(self, frame: CapturedFrame, ratio: tuple[float, ...]) -> bytes:
        image_HW3 = decode_rgb(frame)
        head = {"size_hw": image_HW3.shape[:2], "log_prior_ratio": ratio}
        try:
            write_message(_open(self._process.stdin), head, image_HW3.tobytes())
        except OSError as error:
            raise CannotLabel(f"version {self.version} ended before it labelled the frame: try again") from error
        return self._answer("it had labelled the frame").body

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):
                _open(stream).close()

    def _answer(self, before_what: str) -> Message:
        too_slow = threading.Timer(_PATIENCE_S, self._process.kill)
        began_s = time.monotonic()
        too_slow.start()
        try:
            answer = read_message(_open(self._process.stdout))
        finally:
            too_slow.cancel()
        if answer is None:
            took_s = time.monotonic() - began_s
            raise CannotLabel(f"version {self.version} ended after {took_s:.0f} s, before {before_what}: try again")
        if "error" in answer.head:
            raise CannotLabel(f"version {self.version} cannot be run on the learner's machine: {answer.head['error']}")
        return answer


def _open(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None  # noqa: S101 - they are pipes
    return stream
