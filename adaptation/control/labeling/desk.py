"""The desk where people get regions and leave their answers; a page and a gRPC service stand in front of it.

All calls block; any thread may make them, and any number of desks may stand in front of one root: every change is a
compare-and-swap of the batch's record.
"""

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from pydantic import TypeAdapter, ValidationError

from adaptation.control.labeling.batch_reader import BatchReader
from adaptation.control.labeling.leased_tasks import (
    BadLabel,
    LeasedTask,
    LeaseGone,
    NoSuchTask,
    Place,
    Submission,
    leased_task,
    place_of,
    task_id_of,
)
from adaptation.control.labeling.progress import LabelProgress, TaskSummary, progress_of, summary
from adaptation.control.labeling.surroundings import Surroundings, SurroundingsReader
from adaptation.control.rounds.left_out import LeftOutFrames
from exchange.label_space import NUM_CLASSES
from exchange.net.callers import LEARNER
from exchange.plain_words import refusal_of, shown
from exchange.regions.batches import NoSuchBatch, change_batch, labelled_domains
from exchange.regions.segments import segment_of
from exchange.regions.tasks import (
    MOST_OPINIONS,
    UNSURE,
    Annotator,
    Opinion,
    RegionBatch,
    RegionTask,
    Skip,
    TaskLease,
)
from exchange.storage import StorageRoot
from exchange.storage.locations import DomainName, region_frame_key
from exchange.storage.records import RecordError, RecordTooNew

LEASE_S = 300.0
MOST_HELD = 4
"""Leases of one annotator: the region that is looked at, and those that a page has fetched ahead."""
_LONGEST_WHY = 500
_ANNOTATOR: TypeAdapter[str] = TypeAdapter(Annotator)
_DOMAIN: TypeAdapter[str] = TypeAdapter(DomainName)


class LabelDesk:
    """Gives out regions, the largest score first, and takes answers."""

    def __init__(
        self,
        root: StorageRoot,
        *,
        lease_s: float = LEASE_S,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        left_out: LeftOutFrames | None = None,
    ) -> None:
        self._root = root
        self._left_out = left_out or LeftOutFrames()
        self._lease = timedelta(seconds=lease_s)
        self._clock = clock
        self._batches = BatchReader(root)
        self._surroundings = SurroundingsReader(root)

    def lease(self, annotator: str, domain: str | None = None) -> LeasedTask | None:
        """The next region for this person, theirs for `lease_s`; None where there is none.

        Who holds `MOST_HELD` regions gets the one of them again that was leased first.

        Raises:
            BadLabel: no annotator's or domain's name.
            RecordError, StorageError: the root cannot be read or written.
        """
        annotator, now = _checked(_ANNOTATOR, annotator, "annotator's name"), self._clock()
        open_batches = [batch for batch in self._of(domain) if not batch.is_closed]
        held = list(_held_by(annotator, open_batches, now))
        if len(held) >= MOST_HELD:
            return min(held, key=lambda task: task.leased_until)
        for batch in open_batches:
            if any(task.is_free_for(annotator, now) for task in batch.tasks):
                leased = self._lease_of(batch, annotator, now)
                if leased is not None:
                    return leased
        return None

    def submit(self, task_id: str, annotator: str, label: int) -> Submission:
        """Takes a class for the region, or UNSURE; the same answer again changes nothing.

        An answer counts though its lease has run out, as long as nobody else has the region.

        Raises:
            BadLabel, NoSuchTask, LeaseGone; RecordError, StorageError.
        """
        if not (label == UNSURE or 0 <= label < NUM_CLASSES):
            raise BadLabel(f"{label} is no label: give a train id from 0 to {NUM_CLASSES - 1}, or {UNSURE} for unsure")
        place, annotator, now = place_of(task_id), _checked(_ANNOTATOR, annotator, "annotator's name"), self._clock()

        def answered(batch: RegionBatch) -> RegionBatch:
            task = _task(batch, place)
            if any(opinion.annotator == annotator and opinion.label == label for opinion in task.opinions):
                return batch
            lease = _lease_in(task, annotator)
            seconds = (now - max([lease.since, *_answered_at(batch, annotator)])).total_seconds()
            opinion = Opinion(annotator=annotator, label=label, at=now, seconds=max(seconds, 0.0))
            others = tuple(each for each in task.leases if each is not lease)
            return batch.with_task(task.model_copy(update={"opinions": (*task.opinions, opinion), "leases": others}))

        task = _task(self._change(place, answered), place)
        return Submission(task_id, label, task.state(now), task.label, task.agreed, task.is_held_out)

    def skip(self, task_id: str, annotator: str, why: str = "") -> None:
        """Takes a region that nobody should label out of the queue, for everybody.

        Raises:
            BadLabel, NoSuchTask, LeaseGone; RecordError, StorageError.
        """
        place, annotator, now = place_of(task_id), _checked(_ANNOTATOR, annotator, "annotator's name"), self._clock()

        def skipped(batch: RegionBatch) -> RegionBatch:
            task = _task(batch, place)
            if task.skipped is not None and task.skipped.annotator == annotator:
                return batch
            _lease_in(task, annotator)
            skip = Skip(annotator=annotator, at=now, why=why[:_LONGEST_WHY])
            return batch.with_task(task.model_copy(update={"skipped": skip, "leases": ()}))

        self._change(place, skipped)

    def undo(self, annotator: str) -> LeasedTask | None:
        """Takes this person's last answer or skip back, and leases the region to them again; None where there is none.

        Raises:
            BadLabel; RecordError, StorageError.
        """
        annotator, now = _checked(_ANNOTATOR, annotator, "annotator's name"), self._clock()
        done = [
            (at, Place(batch.domain, batch.id, task.number))
            for batch in self._of(None)
            for task in batch.tasks
            for at in _done_at(task, annotator)
        ]
        if not done:
            return None
        place = max(done)[1]
        lease = self._new_lease(annotator, now)

        def taken_back(batch: RegionBatch) -> RegionBatch:
            task = _task(batch, place)
            kept = tuple(opinion for opinion in task.opinions if opinion.annotator != annotator)
            skipped = None if task.skipped is not None and task.skipped.annotator == annotator else task.skipped
            leases = (*(held for held in task.held(now) if held.annotator != annotator), lease)
            return batch.with_task(
                task.model_copy(update={"opinions": kept, "skipped": skipped, "leases": leases[-MOST_OPINIONS:]})
            )

        return leased_task(_task(self._change(place, taken_back), place), place, lease)

    def queue(self, domain: str) -> list[TaskSummary]:
        """All regions of a domain in the order in which they are asked, with their states.

        Raises:
            BadLabel; RecordError, StorageError.
        """
        now = self._clock()
        return [
            summary(task_id_of(Place(domain, batch.id, task.number)), task, now)
            for batch in self._of(domain)
            for task in batch.tasks
        ]

    def progress(self, domain: str) -> LabelProgress:
        """Raises BadLabel; RecordError, StorageError."""
        return progress_of(domain, self._of(domain), self._clock())

    def domains(self) -> list[str]:
        """In which regions were asked for. Raises StorageError."""
        return labelled_domains(self._root)

    def surroundings(self, task: LeasedTask) -> Surroundings:
        """What a person needs to see of a region: (crop, box in it, which of its pixels are asked about).

        Raises:
            NoSuchTask: the frame was erased, or cannot be read; in this case nobody is asked about the region any more.
            RecordError, StorageError: the root cannot be read or written.
        """
        segment_HW = segment_of(task.runs, (task.box.bottom - task.box.top, task.box.right - task.box.left))
        try:
            found = self._surroundings.read(task.domain, task.frame_sha256, task.model_version, task.box, segment_HW)
        except RecordTooNew:
            raise  # an upgraded learner can show it
        except RecordError as error:
            self._withdraw(task, error)
            raise NoSuchTask("the frame of this region cannot be read: lease another one") from error
        if found is None:
            raise NoSuchTask("the frame of this region was erased: lease another one")
        return found

    def _withdraw(self, leased: LeasedTask, error: RecordError) -> None:
        """Skips a region whose frame cannot be read: nobody could label it, and who holds it would be stuck."""
        key = region_frame_key(leased.domain, leased.frame_sha256, leased.model_version)
        self._left_out.note_shard(leased.domain, key, error)
        place, skip = place_of(leased.id), Skip(annotator=LEARNER, at=self._clock(), why=str(error)[:_LONGEST_WHY])

        def withdrawn(batch: RegionBatch) -> RegionBatch:
            task = _task(batch, place)
            if task.is_closed:
                return batch
            return batch.with_task(task.model_copy(update={"skipped": skip, "leases": ()}))

        self._change(place, withdrawn)

    def _of(self, domain: str | None) -> list[RegionBatch]:
        if domain is not None:
            return self._batches.read(_checked(_DOMAIN, domain, "domain name"))
        return [batch for name in labelled_domains(self._root) for batch in self._batches.read(name)]

    def _lease_of(self, batch: RegionBatch, annotator: str, now: datetime) -> LeasedTask | None:
        """The first free region of a batch, as the batch is when it is written."""
        lease = self._new_lease(annotator, now)
        found: list[RegionTask] = []

        def leased(batch: RegionBatch) -> RegionBatch:
            found[:] = [task for task in batch.tasks if lease in task.leases]
            if found:
                return batch
            found[:] = [task for task in batch.tasks if task.is_free_for(annotator, now)][:1]
            for task in found:
                return batch.with_task(task.model_copy(update={"leases": (*task.held(now), lease)}))
            return batch

        change_batch(self._root, batch.domain, batch.id, leased)
        return next((leased_task(task, Place(batch.domain, batch.id, task.number), lease) for task in found), None)

    def _new_lease(self, annotator: str, now: datetime) -> TaskLease:
        return TaskLease(annotator=annotator, since=now, until=now + self._lease, call=uuid.uuid4().hex)

    def _change(self, place: Place, change: Callable[[RegionBatch], RegionBatch]) -> RegionBatch:
        try:
            return change_batch(self._root, place.domain, place.batch_id, change)
        except NoSuchBatch as error:
            raise NoSuchTask(f"{error}; lease another region") from None


def _checked(kind: TypeAdapter[str], text: str, what: str) -> str:
    try:
        return kind.validate_python(text)
    except ValidationError as error:
        raise BadLabel(f"{shown(text)} is no {what}: {refusal_of(error)}") from None


def _task(batch: RegionBatch, place: Place) -> RegionTask:
    task = batch.task(place.number)
    if task is None:
        raise NoSuchTask(f"batch {batch.id} has no region {place.number}, or it was erased: lease another one")
    return task


def _held_by(annotator: str, batches: list[RegionBatch], now: datetime) -> Iterator[LeasedTask]:
    for batch in batches:
        for task in batch.tasks:
            for lease in task.held(now):
                if lease.annotator == annotator:
                    yield leased_task(task, Place(batch.domain, batch.id, task.number), lease)


def _lease_in(task: RegionTask, annotator: str) -> TaskLease:
    """Run out or not: who takes a region takes the leases away that ran out."""
    for lease in task.leases:
        if lease.annotator == annotator and not task.is_closed:
            return lease
    raise LeaseGone("this region is not yours, or no more: lease one and answer within its time")


def _answered_at(batch: RegionBatch, annotator: str) -> list[datetime]:
    return [opinion.at for task in batch.tasks for opinion in task.opinions if opinion.annotator == annotator]


def _done_at(task: RegionTask, annotator: str) -> Iterator[datetime]:
    yield from (opinion.at for opinion in task.opinions if opinion.annotator == annotator)
    if task.skipped is not None and task.skipped.annotator == annotator:
        yield task.skipped.at
