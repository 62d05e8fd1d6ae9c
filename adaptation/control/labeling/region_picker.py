"""Takes up orders for regions, one at a time: frames to a worker, what it picked into the batch.

A batch says by itself how far it is, so whoever holds the root's lease goes on with one that is still "picking".
"""

import hashlib
import logging
import shutil
import time
from pathlib import Path

from adaptation.control.labeling.batch_reader import BatchReader
from adaptation.control.rounds.captured_frames import is_erased, newest_of_each_drive, when_erased
from adaptation.control.rounds.left_out import LeftOutFrames
from adaptation.control.rounds.worker_process import PICK, WorkerProcess
from adaptation.control.settings import LearnerSettings
from exchange.erasing import erase_regions
from exchange.failpoints import failpoint
from exchange.fleet.frames import CapturedFrame, encode_members, join_shard, read_shard
from exchange.jobs.picking_order import (
    FRAMES_FOLDER,
    ORDER_FILE,
    PICKED_FILE,
    PICKED_FOLDER,
    Picked,
    PickingOrder,
)
from exchange.jobs.round_files import write_whole
from exchange.plan.serving_plan import read_plan
from exchange.regions.batches import NoSuchBatch, change_batch, keep_frame, labelled_domains
from exchange.regions.tasks import RegionBatch, RegionTask, tasks_of
from exchange.registry import fetch_release
from exchange.registry.releases import ReleaseError
from exchange.storage import StorageRoot
from exchange.storage.locations import region_batch_key
from exchange.storage.records import RecordError, RecordTooNew, RecordToRepair

FRAMES_LOOKED_AT = 64
LONGEST_S = 1800.0
MOST_CRASHES = 3
_LOOK_EVERY_S = 5.0
_LONGEST_REASON = 500
_log = logging.getLogger(__name__)


class RegionPicker:
    """`tick` is called every moment by whoever holds the lease, always from the same thread."""

    def __init__(self, root: StorageRoot, settings: LearnerSettings, left_out: LeftOutFrames) -> None:
        self._root = root
        self._left_out = left_out
        self._settings = settings
        self._batches = BatchReader(root)
        self._folders = settings.run_dir.absolute() / "regions"
        self._batch: RegionBatch | None = None
        self._worker: WorkerProcess | None = None
        self._crashes = 0
        self._next_look_s = 0.0

    def wake(self) -> None:
        """Lets the next tick look for orders at once; may be called from any thread."""
        self._next_look_s = 0.0

    def tick(self) -> None:
        """Takes the oldest order one step on.

        Raises:
            OSError, RecordTooNew, RecordToRepair, StorageError: the step was not done; the next call tries it again.
        """
        if self._batch is None:
            self._batch = self._next_order()
            self._crashes = 0
        if self._batch is None:
            return
        try:
            if self._worker is None:
                self._worker = self._start_worker(self._batch)
            elif self._worker.exit_status is not None or self._worker.worked_s > LONGEST_S:
                self._finish(self._batch, self._worker)
        except (RecordTooNew, RecordToRepair):
            raise  # an upgraded learner can go on with it, or this one after a repair
        except (RecordError, ReleaseError) as error:
            self._end(self._batch, str(error))

    def close(self) -> None:
        """Ends the worker; its order is taken up by the next learner."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None

    def _next_order(self) -> RegionBatch | None:
        """The oldest of all domains."""
        if time.monotonic() < self._next_look_s:
            return None
        self._next_look_s = time.monotonic() + _LOOK_EVERY_S
        batches = (batch for domain in labelled_domains(self._root) for batch in self._batches.read(domain))
        return min((b for b in batches if b.phase == "picking"), key=lambda b: (b.asked_at, b.id), default=None)

    def _start_worker(self, batch: RegionBatch) -> WorkerProcess:
        """Lays the frames out anew, whatever an earlier learner left."""
        stored = read_plan(self._root)
        if stored is None:
            raise RecordError("there is no plan yet: nothing is served whose doubts people could settle")
        version = stored.plan.of(batch.domain).serving
        shutil.rmtree(self._folders, ignore_errors=True)
        folder = self._folders / batch.id
        (folder / FRAMES_FOLDER).mkdir(parents=True)
        frames = newest_of_each_drive(self._root, batch.domain, FRAMES_LOOKED_AT, self._left_out)
        if not frames:
            unreadable = len(self._left_out.of(batch.domain))
            left_out = f" but {unreadable} that cannot be read" if unreadable else ""
            raise RecordError(
                f"no frame was captured in {batch.domain}{left_out}: serve some with --root, and ask again"
            )
        for frame in frames:
            name = f"{hashlib.sha256(frame.image).hexdigest()}.tar"
            (folder / FRAMES_FOLDER / name).write_bytes(join_shard([encode_members(frame)]))
        fake, releases = self._settings.fake, self._settings.run_dir.absolute() / "releases"
        order = PickingOrder(
            release=None if fake else fetch_release(self._root, version, releases),
            version=version,
            clicks=batch.clicks,
            random_seed=batch.random_seed,
            double_share=batch.double_share,
            asked_before=self._asked_before(batch.domain),
        )
        write_whole(folder / ORDER_FILE, order.encode())
        failpoint("regions.before-worker")
        alone, busy = self._settings.own_machine, self._settings.yield_file
        return WorkerProcess(folder, engine_busy=busy, alone=alone, program=PICK)

    def _asked_before(self, domain: str) -> dict[str, tuple[RegionTask, ...]]:
        asked: dict[str, tuple[RegionTask, ...]] = {}
        for task in tasks_of(self._batches.read(domain)):
            asked[task.frame_sha256] = (*asked.get(task.frame_sha256, ()), task)
        return asked

    def _finish(self, batch: RegionBatch, worker: WorkerProcess) -> None:
        status, folder = worker.exit_status, worker.folder
        why = worker.failure() or worker.last_words()
        self.close()
        if status == 0:
            self._open(batch, folder)
        elif status is None:
            self._end(batch, f"the worker took more than {LONGEST_S / 60:.0f} minutes")
        elif worker.failure() or self._crashes + 1 >= MOST_CRASHES:
            self._end(batch, why or f"the worker ended with status {status}")
        else:
            self._crashes += 1

    def _open(self, batch: RegionBatch, folder: Path) -> None:
        """Keeps the frames first: a region is not given out before its frame can be seen."""
        picked = Picked.decode((folder / PICKED_FILE).read_bytes(), PICKED_FILE)
        frames = {task.frame_sha256: _read(folder, task.frame_sha256) for task in picked.tasks}
        erased = when_erased(self._root)
        frames = {sha256: frame for sha256, frame in frames.items() if not is_erased(frame, erased)}
        for sha256, frame in frames.items():
            keep_frame(self._root, batch.domain, sha256, frame)
        failpoint("regions.after-frames")
        tasks = tuple(task for task in picked.tasks if task.frame_sha256 in frames)
        self._change(batch, {"phase": "open", "tasks": tasks})
        failpoint("regions.after-open")
        erased = when_erased(self._root)  # one that came just now may have found nothing yet
        for vehicle in {frame.metadata.vehicle for frame in frames.values() if is_erased(frame, erased)}:
            erase_regions(self._root, vehicle)
        _log.info("%s: %d regions for people, batch %s", batch.domain, len(tasks), batch.id)

    def _end(self, batch: RegionBatch, why: str) -> None:
        self.close()
        reason = " ".join(why.split())[:_LONGEST_REASON]
        self._change(batch, {"phase": "failed", "reason": reason})
        _log.warning("%s: no regions for batch %s: %s", batch.domain, batch.id, reason)

    def _change(self, batch: RegionBatch, update: dict[str, object]) -> None:
        def changed(now: RegionBatch) -> RegionBatch:
            return now.model_copy(update=update) if now.phase == "picking" else now

        try:
            change_batch(self._root, batch.domain, batch.id, changed)
        except NoSuchBatch:
            _log.info("%s: batch %s was dropped", batch.domain, batch.id)
        except RecordError as error:  # it was damaged meanwhile, and other orders wait
            self._root.unreadable.note(region_batch_key(batch.domain, batch.id), error)
        self._batch = None
        self._next_look_s = 0.0
        shutil.rmtree(self._folders, ignore_errors=True)


def _read(folder: Path, sha256: str) -> CapturedFrame:
    path = folder / PICKED_FOLDER / f"{sha256}.tar"
    return next(iter(read_shard(path.read_bytes(), path.name)))
