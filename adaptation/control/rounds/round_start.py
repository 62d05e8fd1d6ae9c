"""Which release a round starts from."""

from typing import NamedTuple

from adaptation.control.rounds.domain_sight import DomainSights
from adaptation.control.rounds.round_state import Phase, RoundBook, RoundState, Sight
from exchange.plan.plan_changes import PlanRefused
from exchange.plan.serving_plan import read_plan
from exchange.registry import anchor_of
from exchange.storage import StorageRoot

REJECTIONS = 3
"""After so many in a row the next round starts from the anchor."""


class Start(NamedTuple):
    version: int
    why: str
    from_anchor: bool
    sight: Sight | None


class StartChoice:
    def __init__(self, root: StorageRoot, book: RoundBook) -> None:
        self._root = root
        self._book = book
        self._sights = DomainSights(root)

    def choose(self, domain: str) -> Start:
        """What the domain is served with; the anchor of that where learning from it keeps going wrong.

        Raises:
            PlanRefused: there is no plan.
            ReleaseError, RecordError, StorageError: something cannot be read.
        """
        stored = read_plan(self._root)
        if stored is None:
            raise PlanRefused("there is no serving plan yet")
        serving = stored.plan.of(domain).serving
        sight = self._sights.of(domain, serving)
        if why := reason_for_anchor([state for state in self._book.all() if state.request.domain == domain]):
            return Start(anchor_of(self._root, serving), f"the anchor, for {why}", True, sight)
        return Start(serving, "it is served", False, sight)


def reason_for_anchor(rounds: list[RoundState]) -> str:
    """Why a domain's next round starts from the anchor; empty where it does not. Takes its rounds, the oldest first.

    Rounds that started from there already do not count: the anchor is gone back to once, not for ever.
    """
    rejected: list[RoundState] = []
    for state in rounds:
        if state.phase is Phase.PROMOTED or (state.phase.is_final and state.from_anchor):
            rejected = []
        elif state.phase is Phase.REJECTED:
            rejected.append(state)
    if rejected and rejected[-1].collapsed:
        return f"round {rejected[-1].id} collapsed"
    if len(rejected) >= REJECTIONS:
        return f"{len(rejected)} rounds in a row were rejected"
    return ""
