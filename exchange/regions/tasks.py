"""Image regions that people label: asked in batches, leased, labelled or skipped.

A task is one region and one click: some pixels of a box, of which a person names the class; "unsure" is the ignore id.
A frame that is asked about is kept beside, one object for each frame and version, for captured shards come and go: its
label map is that of the version that asked.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Final, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, StringConstraints, model_validator

from exchange.label_space import IGNORE_ID, NUM_CLASSES
from exchange.regions.segments import MOST_RUNS, segment_of
from exchange.storage.locations import (
    DomainName,
    Version,
)
from exchange.storage.records import Moment, Record

UNSURE: Final = IGNORE_ID
HELD_OUT_SHARE = 0.2
"""Of the frames: what people label in them trains nothing, and judges releases at the gate."""
MOST_TASKS = 1000
"""Of a batch."""
MOST_BATCHES = 64
"""Of a domain."""
MOST_OPINIONS = 3
_LONGEST_WHY = 500

BatchId = Annotated[str, StringConstraints(pattern=r"^[0-9]{8}T[0-9]{6}Z-[0-9a-f]{6}$")]
Annotator = Annotated[str, StringConstraints(pattern=r"^[\w@.:+ -]{1,128}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
TrainId = Annotated[int, Field(ge=0, lt=NUM_CLASSES)]
Label = TrainId | Literal[255]
BatchPhase = Literal["picking", "open", "failed"]
TaskState = Literal["waiting", "leased", "labelled", "skipped"]


class Box(NamedTuple):
    """Rows and columns of a frame, the last ones excluded."""

    top: int
    bottom: int
    left: int
    right: int


class Opinion(Record):
    annotator: Annotator
    label: Label
    at: Moment
    seconds: float | None = Field(default=None, ge=0)
    """From the lease, or the annotator's answer before, to this one; None of an answer from a file."""


class TaskLease(Record):
    annotator: Annotator
    since: Moment
    until: Moment
    call: str = Field(default="", max_length=32)
    """Of its own for each: a call whose first reply was lost finds what it took, though somebody else wrote since."""


class Skip(Record):
    annotator: Annotator
    at: Moment
    why: str = Field(default="", max_length=_LONGEST_WHY)


class RegionTask(Record):
    number: int = Field(default=0, ge=0)
    """In its batch; others keep theirs where an erasure takes some away."""
    frame_sha256: Sha256
    """Of the frame's bytes as they came."""
    vehicle: str
    """A pseudonym, as is the drive."""
    drive: str
    size_hw: tuple[int, int]
    box: Box
    runs: tuple[int, ...] = Field(max_length=MOST_RUNS)
    """Which pixels of the box are asked about (`exchange.regions.segments`)."""
    predicted: TrainId
    """The class that the version took most of them for."""
    model_version: Version
    score: float
    """Worth of the click."""
    people: Literal[1, 2] = 1
    """How many are to answer; where two differ, a third decides."""
    is_left_open: bool = False
    """Two differ, and no click was left for a third: it stays without a label."""
    opinions: tuple[Opinion, ...] = Field(default=(), max_length=MOST_OPINIONS)
    leases: tuple[TaskLease, ...] = Field(default=(), max_length=MOST_OPINIONS)
    skipped: Skip | None = None

    @property
    def wanted(self) -> int:
        """Answers, by what is known now."""
        return MOST_OPINIONS if self.agreed is False and not self.is_left_open else self.people

    @property
    def is_closed(self) -> bool:
        return self.skipped is not None or len(self.opinions) >= self.wanted

    @property
    def label(self) -> int | None:
        """What most say, 255 where no two of three agree; None before enough have answered, and where skipped."""
        if self.skipped is not None or not self.is_closed:
            return None
        label, count = Counter(opinion.label for opinion in self.opinions).most_common(1)[0]
        return UNSURE if count == 1 < len(self.opinions) else label

    @property
    def agreed(self) -> bool | None:
        """Whether the first two said the same; None where no two have answered."""
        return None if len(self.opinions) < 2 else self.opinions[0].label == self.opinions[1].label

    @property
    def is_held_out(self) -> bool:
        return is_held_out(self.frame_sha256)

    @property
    def segment_hw(self) -> NDArray[np.bool_]:
        """The pixels that are asked about, bool of the box's size."""
        return segment_of(self.runs, (self.box.bottom - self.box.top, self.box.right - self.box.left))

    @model_validator(mode="after")
    def _fills_its_box(self) -> Self:
        self.segment_hw  # noqa: B018 - it says what does not fit
        return self

    def held(self, now: datetime) -> tuple[TaskLease, ...]:
        """The leases that have not run out."""
        return tuple(lease for lease in self.leases if lease.until > now)

    def state(self, now: datetime) -> TaskState:
        if self.skipped is not None:
            return "skipped"
        if self.is_closed:
            return "labelled"
        return "leased" if self.held(now) else "waiting"

    def is_free_for(self, annotator: str, now: datetime) -> bool:
        """Nobody answers the same region twice, and no more people hold it than are to answer."""
        held = self.held(now)
        known = {*(lease.annotator for lease in held), *(opinion.annotator for opinion in self.opinions)}
        return not self.is_closed and annotator not in known and len(self.opinions) + len(held) < self.wanted


class RegionBatch(Record):
    """What was asked for at once; regions/<domain>/batches/<id>.json."""

    format: Literal[1] = 1
    id: BatchId
    domain: DomainName
    asked_by: str = Field(max_length=256)
    asked_at: Moment
    clicks: int = Field(ge=1, le=MOST_TASKS)
    """At most; a second person's click counts as one."""
    random_seed: int | None = None
    """Instead of where a label teaches most, regions at random places: what a selection is compared with."""
    double_share: float = Field(default=0.2, ge=0, le=1)
    """Of the regions: shown to two people."""
    phase: BatchPhase = "picking"
    reason: str = Field(default="", max_length=_LONGEST_WHY)
    """Why it failed."""
    tasks: tuple[RegionTask, ...] = Field(default=(), max_length=MOST_TASKS)

    @property
    def order(self) -> tuple[str, str, str, int, int | None, float]:
        """What was asked for and by whom: stays as it is while the batch is picked and labelled."""
        return self.id, self.domain, self.asked_by, self.clicks, self.random_seed, self.double_share

    @property
    def is_closed(self) -> bool:
        return self.phase != "picking" and all(task.is_closed for task in self.tasks)

    def task(self, number: int) -> RegionTask | None:
        return next((task for task in self.tasks if task.number == number), None)

    @property
    def clicks_promised(self) -> int:
        """That were made, and that are still to be made, as far as is known now."""
        return sum(len(task.opinions) if task.is_closed else task.wanted for task in self.tasks)

    def with_task(self, changed: RegionTask) -> "RegionBatch":
        """A region of which two people said two things is left open where no click is left for a third."""
        decided = self._with(changed.model_copy(update={"is_left_open": False}))
        if changed.agreed is False and decided.clicks_promised > self.clicks:
            return self._with(changed.model_copy(update={"is_left_open": True}))
        return decided

    def _with(self, changed: RegionTask) -> "RegionBatch":
        tasks = tuple(changed if task.number == changed.number else task for task in self.tasks)
        return self.model_copy(update={"tasks": tasks})

    def without_vehicle(self, vehicle: str) -> "RegionBatch":
        return self.model_copy(update={"tasks": tuple(task for task in self.tasks if task.vehicle != vehicle)})


def is_held_out(frame_sha256: str) -> bool:
    """By the frame's bytes alone, so that no label of it is ever on the other side."""
    return int(frame_sha256[:8], 16) < HELD_OUT_SHARE * 2**32


def new_batch_id(now: datetime, nonce: str) -> str:
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{nonce[:6]}"


def tasks_of(batches: Sequence[RegionBatch]) -> Iterator[RegionTask]:
    for batch in batches:
        yield from batch.tasks
