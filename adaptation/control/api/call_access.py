"""Who may call which of the learner's methods, and how many calls of each sort there are at once."""

from enum import Enum

from exchange.net.call_bounds import CallKind
from exchange.net.callers import Callers, Role
from exchange.net.guarded_calls import Context, Gatekeeper

MOST_WATCHERS = 8
_CALLS = 32
"""Of each other sort, those that wait for a thread included."""
_ORDERS = (
    "Operations/StartRound",
    "Operations/CancelRound",
    "Operations/Promote",
    "Operations/Rollback",
    "Operations/Pin",
    "Operations/SetTrigger",
    "Annotation/Ask",
)


class Sort(Enum):
    """Calls that share places and threads."""

    ORDERS = "orders"
    WATCHES = "watches of rounds"
    LABELS = "calls of annotators"
    QUESTIONS = "questions"


def sort_of(method: str) -> Sort:
    """Returns the sort of a method's calls; `method` is such as `/roadshift.v1.Operations/Rollback`."""
    method = method.removeprefix("/roadshift.v1.")
    if method in _ORDERS:
        return Sort.ORDERS
    if method == "Operations/WatchRound":
        return Sort.WATCHES
    return Sort.LABELS if method.startswith("Annotation/") else Sort.QUESTIONS


class CallAccess(Gatekeeper):
    """Refuses callers without the role before they hold a thread or a message.

    Messages that are being received hold at most 16 of each sort, each of at most gRPC's 4 MiB.
    """

    def __init__(self, callers: Callers) -> None:
        super().__init__(callers)
        self._kinds = {sort: _bounds(sort) for sort in Sort}

    def kind(self, method: str, context: Context) -> CallKind:
        """Raises Refused. Operators may do what annotators may."""
        sort = sort_of(method)
        self.require(context, *((Role.ANNOTATOR,) if sort is Sort.LABELS else ()), Role.OPERATOR)
        return self._kinds[sort]


def _bounds(sort: Sort) -> CallKind:
    watches = sort is Sort.WATCHES
    return CallKind(
        sort.value,
        calls=MOST_WATCHERS if watches else _CALLS,
        receiving=16,
        oldest_makes_way=True,
        full="ask for the round now and then" if watches else "call again later",
    )
