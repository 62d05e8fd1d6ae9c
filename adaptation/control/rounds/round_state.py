"""A round as the root knows it: state.json, changed by compare-and-swap, so that any learner can go on with it.

rounds/<id>/state.json      `RoundState`
rounds/<id>/frames/<n>.tar  copies of the captured shards that it learns from
rounds/<id>/snapshot.json   which they are, written last; never changed but by an erasure
rounds/<id>/progress.json   how far the worker is
rounds/<id>/verdict.json    what the gate measured
rounds/<id>/report.json     what was done, and report.html for people
"""

import hashlib
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from exchange.failpoints import failpoint
from exchange.jobs.progress import Progress
from exchange.net.request_values import MOST_MINUTES
from exchange.storage import ObjectMissing, StorageRoot
from exchange.storage.locations import ROUNDS, DomainName, Version
from exchange.storage.readable_objects import UNREADABLE, at_its_key
from exchange.storage.record_changes import change_record
from exchange.storage.records import Moment, PerClass, Record

_EVENTS_KEPT = 64
_LONGEST_TEXT = 1000

RoundId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
Trigger = Literal["operator", "interval", "drift"]


class Phase(StrEnum):
    QUEUED = "queued"
    SNAPSHOT = "snapshot"
    LEARNING = "learning"
    PUBLISHING = "publishing"
    ROLLOUT = "rollout"
    PROMOTED = "promoted"
    REJECTED = "rejected"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self in (Phase.PROMOTED, Phase.REJECTED, Phase.FAILED, Phase.CANCELLED)


class NoSuchRound(Exception):
    """The message names it."""


class Event(Record):
    at: Moment
    text: str = Field(max_length=_LONGEST_TEXT)


class Sight(Record):
    """What a domain looked like to the version that served it."""

    version: Version
    log_ratio: PerClass
    """Of its live prior."""
    mean_confidence: float
    frames: int


class Request(Record):
    """What a round was asked for."""

    domain: DomainName
    recipe: str
    minutes: float | None = Field(default=None, gt=0, le=MOST_MINUTES)
    """Instead of the recipe's own budget."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    trigger: Trigger = "operator"
    force: bool = False
    """Publish what it learns whatever the gate says."""


class RoundState(Record):
    format: Literal[1] = 1
    id: RoundId
    request: Request
    requested_by: str
    created_at: Moment
    changed_at: Moment
    phase: Phase = Phase.QUEUED
    start_version: Version | None = None
    """Chosen when the snapshot is taken: what the domain is served with, or the anchor."""
    from_anchor: bool = False
    frames: int = 0
    sight: Sight | None = None
    """Of the domain when the round began; what later drift is told against."""
    crashes: int = 0
    """Of the worker, by no fault of the learner."""
    version: Version | None = None
    reason: str = ""
    collapsed: bool = False
    """The candidate saw too few classes: the next round starts from the anchor."""
    cancelled_by: str | None = None
    events: tuple[Event, ...] = Field(default=(), max_length=_EVENTS_KEPT)

    def moved(self, phase: Phase, text: str, **changes: object) -> "RoundState":
        """In another phase, with the event that tells why; a final phase takes the text for its reason."""
        reason = {"reason": text} if phase.is_final else {}
        return self.told(text).model_copy(update={"phase": phase, **reason, **changes})

    def told(self, text: str) -> "RoundState":
        now = datetime.now(UTC)
        event = Event(at=now, text=text[:_LONGEST_TEXT])
        return self.model_copy(update={"changed_at": now, "events": (*self.events, event)[-_EVENTS_KEPT:]})


def round_key(round_id: str, name: str) -> str:
    return f"{ROUNDS}/{round_id}/{name}"


def state_key(round_id: str) -> str:
    return round_key(round_id, "state.json")


def progress_key(round_id: str) -> str:
    return round_key(round_id, "progress.json")


def new_round_id(idempotency_key: str) -> str:
    """The same for the same key; another one each time without."""
    return hashlib.sha256(idempotency_key.encode()).hexdigest()[:16] if idempotency_key else uuid.uuid4().hex[:16]


def read_round(root: StorageRoot, round_id: str) -> RoundState:
    """Raises NoSuchRound; RecordError or StorageError where it cannot be read."""
    found = root.read_if_any(state_key(round_id))
    if found is None:
        raise NoSuchRound(f"there is no round {round_id}: roadshift round list names those that there are")
    return RoundState.decode(found.data, state_key(round_id))


_decode_state = at_its_key(RoundState, lambda state: state_key(state.id))


class RoundBook:
    """All rounds of a root, read again and again: those that have ended are read once."""

    def __init__(self, root: StorageRoot) -> None:
        self._root = root
        self._ended: dict[str, RoundState] = {}
        self.damaged: dict[str, str] = {}
        """Why, of those whose state is not understood. Nobody can go on with them, and they keep nobody waiting."""

    def all(self) -> list[RoundState]:
        """The oldest first; a folder without a state yet, or any more, or with a damaged one, is none.

        Raises:
            StorageError: one cannot be read.
        """
        damaged: dict[str, str] = {}
        found = []
        for name in self._root.list_folders(ROUNDS):
            try:
                state = self._ended.get(name) or self._read(name)
            except UNREADABLE as error:
                self._root.unreadable.note(state_key(name), error)
                damaged[name] = str(error)
                continue
            if state is not None:
                found.append(state)
        self.damaged = damaged
        self._ended = {state.id: state for state in found if state.phase.is_final}
        return sorted(found, key=lambda state: (state.created_at, state.id))

    def _read(self, name: str) -> RoundState | None:
        stored = self._root.read_if_any(state_key(name))
        return None if stored is None else _decode_state(stored.data, state_key(name))


def change_round(root: StorageRoot, round_id: str, change: Callable[[RoundState], RoundState]) -> RoundState:
    """Writes what `change` makes of the state as it is; may call it again where somebody else wrote in between.

    Raises:
        NoSuchRound; RecordError, StorageError: the state cannot be read or written.
    """

    def changed(state: RoundState | None) -> RoundState:
        if state is None:
            raise NoSuchRound(f"round {round_id} is gone")
        wanted = change(state)
        failpoint(f"round.before-{wanted.phase}")
        return wanted

    state = change_record(root, state_key(round_id), RoundState, changed)
    failpoint(f"round.after-{state.phase}")
    return state


def read_progress(root: StorageRoot, round_id: str) -> Progress | None:
    """None before the worker's first word. Raises RecordError or StorageError."""
    try:
        return Progress.decode(root.read(progress_key(round_id)).data, progress_key(round_id))
    except ObjectMissing:
        return None
