"""What a desk gives out and takes back, and what it says of calls that cannot be."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from pydantic import TypeAdapter

from exchange.plain_words import shown
from exchange.regions.tasks import BatchId, Box, RegionTask, TaskLease, TaskState
from exchange.storage.locations import DomainName

_DOMAIN: TypeAdapter[str] = TypeAdapter(DomainName)
_MOST_DIGITS = 9
_BATCH: TypeAdapter[str] = TypeAdapter(BatchId)


class LabelError(Exception):
    """The message says what to do."""


class NoSuchTask(LabelError):
    pass


class BadLabel(LabelError):
    """A label, an annotator or a domain that cannot be."""


class LeaseGone(LabelError):
    """The region was never this annotator's, or is somebody else's by now."""


@dataclass(frozen=True)
class LeasedTask:
    """One region to label by one click."""

    id: str
    domain: str
    frame_sha256: str
    size_hw: tuple[int, int]
    box: Box
    """In the frame: rows top to bottom and columns left to right, the last ones excluded."""
    runs: tuple[int, ...]
    """Which pixels of the box are asked about (`exchange.regions.segments`)."""
    predicted: int
    """The model's class of most of them."""
    model_version: int
    score: float
    leased_until: datetime


@dataclass(frozen=True)
class Submission:
    task_id: str
    label: int
    """The annotator's: a train id, or UNSURE."""
    state: TaskState
    """`waiting` where another person is to answer, too."""
    decided: int | None
    """What counts, once enough have answered; UNSURE trains nothing."""
    agreed: bool | None
    """With the other person; None where there is none yet."""
    is_held_out: bool


class Place(NamedTuple):
    domain: str
    batch_id: str
    number: int


def task_id_of(place: Place) -> str:
    return f"{place.domain}.{place.batch_id}.{place.number}"


def place_of(task_id: str) -> Place:
    domain, _, rest = task_id.partition(".")
    batch, _, number = rest.partition(".")
    try:
        if len(number) > _MOST_DIGITS:
            raise ValueError
        return Place(_DOMAIN.validate_python(domain), _BATCH.validate_python(batch), int(number))
    except ValueError:
        raise NoSuchTask(f"{shown(task_id)} is no region's id: lease gives them") from None


def leased_task(task: RegionTask, place: Place, lease: TaskLease) -> LeasedTask:
    return LeasedTask(
        id=task_id_of(place),
        domain=place.domain,
        frame_sha256=task.frame_sha256,
        size_hw=task.size_hw,
        box=task.box,
        runs=task.runs,
        predicted=task.predicted,
        model_version=task.model_version,
        score=task.score,
        leased_until=lease.until,
    )
