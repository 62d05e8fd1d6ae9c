"""Answers that a file gives: which region each is for, and what becomes of it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from clients.annotation_files.asked_frames import AskedRegion
from clients.annotation_files.cvat import Shape, name_of
from clients.annotation_files.refusals import Refusal
from exchange.plain_words import counted
from exchange.regions.batches import NoSuchBatch, change_batch
from exchange.regions.tasks import Opinion, RegionBatch, RegionTask
from exchange.storage import StorageRoot

LEAST_OVERLAP = 0.5
"""IoU of a shape and the region that it names: a loosely drawn polygon reaches it, and above it no shape can name two
regions that share no pixel."""
LEAST_LEAD = 0.1
"""By which that IoU must exceed the IoU with any other region, unless the shape is exactly the region."""


class Answer(NamedTuple):
    place: str
    batch_id: str
    number: int
    label: int


class Import(NamedTuple):
    """What a file holds, sorted."""

    new: tuple[Answer, ...]
    known: int
    """Answers that count already."""
    refused: tuple[Refusal, ...]
    unanswered: tuple[tuple[str, int], ...]
    """Frames of which it leaves regions unanswered that wait for this annotator, and how many."""


def answer(place: str, region: AskedRegion, label: int) -> Answer:
    return Answer(place, region.batch_id, region.task.number, label)


def answer_of(shape: Shape, regions: tuple[AskedRegion, ...]) -> Answer | Refusal | None:
    """For the region that the shape covers; None where nobody has named it."""
    if shape.label is None:
        return None
    overlaps = [(_overlap(shape, region), region) for region in regions]
    best, region = max(overlaps, key=lambda pair: pair[0])
    if best < LEAST_OVERLAP:
        why = (
            f"with the nearest one, {_where(region)}, its overlap (IoU) is {_told(best)}; {LEAST_OVERLAP} is the least"
        )
        return Refusal(shape.place, f"it covers no region that was asked about: {why}: name the masks where they are")
    others = [pair for pair in overlaps if not _is_same(pair[1], region)]
    second, other = max(others, key=lambda pair: pair[0], default=(0.0, region))
    if best < 1 and best - second < LEAST_LEAD:
        both = f"{_where(region)} (IoU {_told(best)}) and {_where(other)} ({_told(second)})"
        return Refusal(shape.place, f"it might be either of two regions, {both}: name the masks where they are")
    return answer(shape.place, region, shape.label)


def sort_answers(
    found: Iterable[Answer | Refusal], known: Mapping[str, tuple[AskedRegion, ...]], annotator: str
) -> Import:
    """Which answers are new, and which cannot be taken: for regions that are labelled otherwise, or twice named."""
    tasks = {(each.batch_id, each.task.number): each.task for regions in known.values() for each in regions}
    refused: list[Refusal] = []
    by_region: dict[tuple[str, int], list[Answer]] = {}
    for each in found:
        if isinstance(each, Refusal):
            refused.append(each)
        else:
            by_region.setdefault((each.batch_id, each.number), []).append(each)
    new, already = [], 0
    for key, answers in by_region.items():
        first, task = answers[0], tasks[key]
        names = " and ".join(sorted({name_of(each.label) for each in answers}))
        if len({each.label for each in answers}) > 1:
            refused += [Refusal(each.place, f"one region is called {names}: choose") for each in answers]
        elif (why := _why_not(task, first.label, annotator)) is not None:
            refused.append(Refusal(first.place, why))
        elif _says(task, first.label, annotator):
            already += 1
        else:
            new.append(first)
    waiting = Counter(
        task.frame_sha256
        for key, task in tasks.items()
        if key not in by_region and not task.is_closed and annotator not in {each.annotator for each in task.opinions}
    )
    return Import(tuple(new), already, tuple(refused), tuple(waiting.items()))


def take(
    root: StorageRoot, domain: str, answers: Iterable[Answer], annotator: str, at: datetime
) -> tuple[list[Answer], list[Refusal]]:
    """Writes the answers, a batch at a time: those that were taken, and what somebody else answered meanwhile.

    Args:
        at: of all of them; by it they are found again (`undoing`).

    Raises:
        RecordError, StorageError: a batch cannot be read or written; those before are taken.
    """
    by_batch: dict[str, list[Answer]] = {}
    for each in answers:
        by_batch.setdefault(each.batch_id, []).append(each)
    taken: list[Answer] = []
    refused: list[Refusal] = []
    for batch_id, of_batch in by_batch.items():
        written: list[Answer] = []

        def with_answers(
            batch: RegionBatch, of_batch: list[Answer] = of_batch, out: list[Answer] = written
        ) -> RegionBatch:
            out.clear()
            for each in of_batch:
                task = batch.task(each.number)
                if task is not None and _why_not(task, each.label, annotator) is None:
                    batch = batch.with_task(_answered(task, each.label, annotator, at))
                    out.append(each)
            return batch

        try:
            change_batch(root, domain, batch_id, with_answers)
        except NoSuchBatch as error:
            refused += [Refusal(each.place, str(error)) for each in of_batch]
            continue
        taken += written
        refused += [Refusal(e.place, "somebody else answered meanwhile") for e in of_batch if e not in written]
    return taken, refused


def _answered(task: RegionTask, label: int, annotator: str, at: datetime) -> RegionTask:
    if _says(task, label, annotator):
        return task
    opinion = Opinion(annotator=annotator, label=label, at=at)
    leases = tuple(lease for lease in task.leases if lease.annotator != annotator)
    return task.model_copy(update={"opinions": (*task.opinions, opinion), "leases": leases})


def _says(task: RegionTask, label: int, annotator: str) -> bool:
    """Whether the answer adds nothing."""
    mine = any(opinion.annotator == annotator and opinion.label == label for opinion in task.opinions)
    return mine or (task.is_closed and task.label == label)


def _why_not(task: RegionTask, label: int, annotator: str) -> str | None:
    if _says(task, label, annotator):
        return None
    if task.skipped is not None:
        return f"{task.skipped.annotator} took the region out"
    for opinion in task.opinions:
        if opinion.annotator == annotator:
            return f"{annotator} called it {name_of(opinion.label)} before: take that back first"
    return (
        f"it is {name_of(task.label)} by {counted(len(task.opinions), 'person', 'people')} already"
        if task.is_closed
        else None
    )


def _overlap(shape: Shape, region: AskedRegion) -> float:
    """Intersection over union."""
    box = region.task.box
    both = int(shape.inside_HW[box.top : box.bottom, box.left : box.right][region.task.segment_hw].sum())
    return both / max(int(shape.inside_HW.sum()) + int(region.task.segment_hw.sum()) - both, 1)


def _is_same(one: AskedRegion, other: AskedRegion) -> bool:
    """Whether both ask about the same pixels."""
    return one.task.box == other.task.box and bool((one.task.segment_hw == other.task.segment_hw).all())


def _where(region: AskedRegion) -> str:
    box = region.task.box
    return f"rows {box.top} to {box.bottom} and columns {box.left} to {box.right}"


def _told(overlap: float) -> str:
    """Two digits, rounded down: what lies under a bound never reads as the bound."""
    return f"{int(overlap * 100) / 100:.2f}"
