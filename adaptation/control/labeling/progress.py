"""How far people are with a domain's regions, in numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from exchange.regions.tasks import UNSURE, BatchPhase, Box, RegionBatch, RegionTask, TaskState, tasks_of


@dataclass(frozen=True)
class TaskSummary:
    """One region in the queue."""

    id: str
    state: TaskState
    frame_sha256: str
    box: Box
    predicted: int
    score: float
    people: int
    """How many are to answer, by what is known now."""
    answered_by: tuple[str, ...]
    leased_by: tuple[str, ...]
    label: int | None
    """What counts; None before enough have answered, and where skipped."""
    is_held_out: bool


@dataclass(frozen=True)
class BatchSummary:
    """What was asked for at once."""

    id: str
    phase: BatchPhase
    reason: str
    """Why the learner could not pick regions; empty where it could."""
    regions: int
    open: int
    """Regions that lack answers."""


@dataclass(frozen=True)
class LabelProgress:
    """Regions are counted, but for clicks, of which a region that two people see takes two."""

    domain: str
    batches: tuple[BatchSummary, ...]
    """The oldest first."""
    waiting: int
    leased: int
    labelled: int
    """With the unsure ones."""
    skipped: int
    unsure: int
    """Where people were, or no two of three agreed: without a label."""
    held_out: int
    """Of the labelled, in frames that no training sees."""
    clicks_used: int
    clicks_left: int
    minutes: float
    """That people have spent."""
    seconds_a_click: float | None
    """The median; None before the first."""
    agreement: float | None
    """Share of the regions that two people answered in which they said the same; None where there is none."""
    agreed_of: int
    """Regions that two people answered."""
    disputed: int
    """That wait for a third."""
    sentinel_share: float
    """Of the labelled regions with a class: those in held-out frames."""

    @property
    def clicks_budget(self) -> int:
        return self.clicks_used + self.clicks_left

    @property
    def picking(self) -> int:
        """Batches that the learner is still choosing regions for."""
        return sum(batch.phase == "picking" for batch in self.batches)

    @property
    def failed(self) -> tuple[str, ...]:
        """Why, of the batches for which it could not."""
        return tuple(batch.reason for batch in self.batches if batch.phase == "failed")


def summary(task_id: str, task: RegionTask, now: datetime) -> TaskSummary:
    return TaskSummary(
        id=task_id,
        state=task.state(now),
        frame_sha256=task.frame_sha256,
        box=task.box,
        predicted=task.predicted,
        score=task.score,
        people=task.wanted,
        answered_by=tuple(opinion.annotator for opinion in task.opinions),
        leased_by=tuple(lease.annotator for lease in task.held(now)),
        label=task.label,
        is_held_out=task.is_held_out,
    )


def progress_of(domain: str, batches: Sequence[RegionBatch], now: datetime) -> LabelProgress:
    tasks = list(tasks_of(batches))
    states = [task.state(now) for task in tasks]
    seconds = [opinion.seconds for task in tasks for opinion in task.opinions if opinion.seconds is not None]
    agreed = [task.agreed for task in tasks if task.agreed is not None]
    named = [task for task in tasks if task.label not in (None, UNSURE)]
    return LabelProgress(
        domain=domain,
        batches=tuple(map(_batch_summary, batches)),
        waiting=states.count("waiting"),
        leased=states.count("leased"),
        labelled=states.count("labelled"),
        skipped=states.count("skipped"),
        unsure=sum(task.label == UNSURE for task in tasks),
        held_out=sum(task.is_held_out for task in named),
        clicks_used=sum(len(task.opinions) for task in tasks),
        clicks_left=sum(task.wanted - len(task.opinions) for task in tasks if not task.is_closed),
        minutes=sum(seconds) / 60,
        seconds_a_click=median(seconds) if seconds else None,
        agreement=sum(agreed) / len(agreed) if agreed else None,
        agreed_of=len(agreed),
        disputed=sum(task.agreed is False and not task.is_closed for task in tasks),
        sentinel_share=sum(task.is_held_out for task in named) / len(named) if named else 0.0,
    )


def _batch_summary(batch: RegionBatch) -> BatchSummary:
    lacking = sum(not task.is_closed for task in batch.tasks)
    return BatchSummary(batch.id, batch.phase, batch.reason, len(batch.tasks), lacking)
