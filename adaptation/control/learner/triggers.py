"""Rounds that start by themselves: after an interval, or when a domain has drifted."""

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, ClassVar, Literal

from pydantic import Field, JsonValue, ValidationError

from adaptation.control.rounds.captured_snapshot import captured_since
from adaptation.control.rounds.domain_sight import DomainSights, drift
from adaptation.control.rounds.round_state import Phase, RoundBook, RoundState, Sight, Trigger
from exchange.fleet.presence import domains_with_presence
from exchange.net.request_values import MOST_MINUTES, BadValue
from exchange.plain_words import refusal_of
from exchange.plan.serving_plan import ServingPlan, read_plan
from exchange.storage import StorageRoot
from exchange.storage.locations import MAX_DOMAINS, TRIGGERS, DomainName, Version
from exchange.storage.record_changes import change_record
from exchange.storage.records import Moment, Record

DEFAULT_MIN_FRAMES = 256
_LONGEST_INTERVAL_S = 366 * 86_400.0
_MOST_NEW_FRAMES = 1_000_000
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
_log = logging.getLogger(__name__)


class TriggerRule(Record):
    """When a domain's rounds start; each needs new frames."""

    interval_s: float | None = Field(default=None, ge=60, le=_LONGEST_INTERVAL_S, allow_inf_nan=False)
    """Since the last round began; None: never by time."""
    drift: bool = False
    min_new_frames: int = Field(default=DEFAULT_MIN_FRAMES, ge=1, le=_MOST_NEW_FRAMES)
    """Captured since the last round began."""
    recipe: str | None = None
    """None: the learner's default."""
    minutes: float | None = Field(default=None, gt=0, le=MOST_MINUTES, allow_inf_nan=False)


_Rule = Annotated[TriggerRule | dict[str, JsonValue], Field(union_mode="left_to_right")]
"""One that this version does not take stays as it is stored: it keeps no other domain from its rounds."""


class TriggerBook(Record):
    REMEDY: ClassVar[str] = "restore it from a backup, or run roadshift repair, and set every trigger again"
    format: Literal[1] = 1
    rules: dict[DomainName, _Rule] = Field(default={}, max_length=MAX_DOMAINS)
    set_at: dict[DomainName, Moment] = Field(default={})
    """Where there was no round yet, an interval is counted from here."""
    surest: dict[Version, float] = Field(default={})
    """The highest mean confidence that a version has shown in any domain."""

    @property
    def usable(self) -> dict[str, TriggerRule]:
        return {domain: rule for domain, rule in self.rules.items() if isinstance(rule, TriggerRule)}

    @property
    def unusable(self) -> dict[str, str]:
        """Domains whose rule is none, and why."""
        rest = {domain: rule for domain, rule in self.rules.items() if not isinstance(rule, TriggerRule)}
        return {domain: _why_unusable(rule) for domain, rule in rest.items()}


def _why_unusable(rule: Mapping[str, JsonValue]) -> str:
    try:
        TriggerRule.model_validate(rule)
    except ValidationError as error:
        return refusal_of(error)
    return ""


def read_triggers(root: StorageRoot) -> TriggerBook:
    """Raises RecordError or StorageError."""
    found = root.read_if_any(TRIGGERS)
    return TriggerBook() if found is None else TriggerBook.decode(found.data, TRIGGERS)


def set_trigger(root: StorageRoot, domain: str, rule: TriggerRule) -> TriggerBook:
    """Replaces a domain's rule; one that fires by nothing is forgotten.

    Raises:
        RecordError, StorageError: it cannot be read or written.
        ValidationError: too many domains have one.
    """

    def changed(book: TriggerBook | None) -> TriggerBook:
        book = book or TriggerBook()
        rules = {name: known for name, known in book.rules.items() if name != domain}
        set_at = {name: at for name, at in book.set_at.items() if name != domain}
        if rule.drift or rule.interval_s is not None:
            known = book.usable.get(domain, rule)
            rules[domain], set_at[domain] = known.model_copy(update=dict(rule)), datetime.now(UTC)
        return book.with_values(rules=rules, set_at=set_at)

    return change_record(root, TRIGGERS, TriggerBook, changed)


class Triggers:
    """`tick` is called now and then by whoever holds the lease, always from the same thread."""

    def __init__(self, root: StorageRoot, book: RoundBook, start: Callable[[str, TriggerRule, Trigger, str], None]):
        """`start` takes the domain, its rule, which trigger fired and why."""
        self._root = root
        self._book = book
        self._start = start
        self._looking = DomainSights(root)
        self.sights: dict[str, Sight] = {}
        """Every domain as the version that serves it sees it."""
        self.drifts: dict[str, str] = {}
        """How those have drifted that have, in words."""
        self.troubles: tuple[str, ...] = ()
        """Of triggers that cannot start rounds; all others go on."""

    def tick(self) -> None:
        """Starts what is due.

        Raises:
            RecordError, StorageError: something cannot be read; the next call may succeed.
        """
        stored, book = read_plan(self._root), read_triggers(self._root)
        if stored is None:
            return
        unusable = book.unusable
        self.sights, book = self._look(stored.plan, book)
        rounds = self._book.all()
        before = {state.request.domain: state for state in rounds if state.phase is not Phase.CANCELLED}  # the last
        self.drifts = {
            domain: why
            for domain, sight in self.sights.items()
            if (why := drift(sight, _sight_before(before.get(domain)), book.surest.get(sight.version)))
        }
        waiting = {state.request.domain for state in rounds if not state.phase.is_final}
        for domain, rule in book.usable.items():
            if domain in waiting:
                continue
            last = before.get(domain)
            fired = self._fired(rule, last, book.set_at.get(domain, _LONG_AGO), self.drifts.get(domain, ""))
            since = None if last is None else last.created_at
            if fired and captured_since(self._root, domain, since) >= rule.min_new_frames:
                try:
                    self._start(domain, rule, *fired)
                except BadValue as error:
                    unusable[domain] = str(error)
        self._tell(unusable)

    def _tell(self, unusable: Mapping[str, str]) -> None:
        """Each trouble once."""
        troubles = tuple(
            f"the trigger of {domain} starts no rounds: {why}; set it again by roadshift trigger set"
            for domain, why in unusable.items()
        )
        for trouble in troubles:
            if trouble not in self.troubles:
                _log.warning("%s", trouble)
        self.troubles = troubles

    def _look(self, plan: ServingPlan, book: TriggerBook) -> tuple[dict[str, Sight], TriggerBook]:
        """Every domain as its version sees it; and the book with the highest confidence of each version."""
        sights = {}
        for domain in sorted({*domains_with_presence(self._root), *book.rules})[:MAX_DOMAINS]:
            if (sight := self._looking.of(domain, plan.of(domain).serving)) is not None:
                sights[domain] = sight
        served = {plan.default.serving, *(listed.serving for listed in plan.domains.values())}

        def surer(known: TriggerBook | None) -> TriggerBook:
            known = known or TriggerBook()
            surest = {version: value for version, value in known.surest.items() if version in served}
            for sight in sights.values():
                surest[sight.version] = max(surest.get(sight.version, 0.0), sight.mean_confidence)
            return known.model_copy(update={"surest": surest})

        return sights, change_record(self._root, TRIGGERS, TriggerBook, surer) if book.rules else surer(book)

    def _fired(
        self, rule: TriggerRule, last: RoundState | None, set_at: datetime, drifted: str
    ) -> tuple[Trigger, str] | None:
        since = set_at if last is None else last.created_at
        waited_s = (datetime.now(UTC) - since).total_seconds()
        if rule.interval_s is not None and waited_s >= rule.interval_s:
            return "interval", f"{waited_s:.0f} s since the last round"
        return ("drift", drifted) if rule.drift and drifted else None


def _sight_before(last: RoundState | None) -> Sight | None:
    return None if last is None else last.sight
