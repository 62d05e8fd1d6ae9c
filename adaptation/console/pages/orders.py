"""Orders to the learner: asked once more with what they change, given in a thread, and told how they ended."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from nicegui import ui
from pydantic import ValidationError

from adaptation.console.backstage import Backstage
from adaptation.console.pages.elements import attributed
from adaptation.console.sessions import Visitor
from adaptation.control.labeling.leased_tasks import LabelError
from adaptation.control.learner.operations import KeyUsed, TooManyWaiting
from adaptation.control.rounds.round_state import NoSuchRound
from exchange.net.callers import NameTaken
from exchange.net.request_values import BadValue
from exchange.plain_words import refusal_of
from exchange.plan.lease import LeaseLost
from exchange.plan.plan_changes import PlanRefused
from exchange.registry.releases import ReleaseError
from exchange.storage import StorageError
from exchange.storage.records import RecordError

T = TypeVar("T")
_READ_FOR_S = 10.0
"""A refusal, which is longer than what tells of a success."""
REFUSALS = (
    BadValue,
    KeyUsed,
    LabelError,
    LeaseLost,
    NameTaken,
    NoSuchRound,
    PlanRefused,
    RecordError,
    ReleaseError,
    StorageError,
    TooManyWaiting,
    ValidationError,
)


async def agreed(title: str, effect: str, action: str, *, needs_why: bool = False) -> str | None:
    """Asks for the go-ahead; returns why, which may be empty, or None."""
    with ui.dialog() as dialog, ui.card().classes("ask").props("role=alertdialog") as card:
        attributed(card, {"aria-label": title})
        with ui.element("h2"):
            ui.label(title)
        ui.label(effect).classes("effect")
        why = ui.input("Why" if needs_why else "Why (for the audit, may stay empty)").props(
            "outlined dense maxlength=500 autofocus"
        )
        why.classes("wide")

        def go_ahead() -> None:
            if needs_why and not why.value.strip():
                why.props("error").props('error-message="Say why: the audit keeps it"')
                return
            dialog.submit(why.value.strip())

        why.on("keydown.enter", go_ahead)
        with ui.element("div").classes("buttons"):
            ui.button("Leave it as it is", on_click=lambda: dialog.submit(None)).props("flat no-caps")
            ui.button(action, on_click=go_ahead).props("unelevated no-caps color=negative")
    answer = await until_closed(dialog)
    return answer if isinstance(answer, str) else None


async def until_closed(dialog: ui.dialog) -> object:
    """What was submitted; the dialog goes once it has given the focus back to where it was."""
    _clear_notices()
    dialog.on("hide", dialog.delete)
    return await dialog


async def given(backstage: Backstage, visitor: Visitor, order: Callable[[str], T], done: str) -> T | None:
    """Gives an operator's order, which takes who gives it, and says so; None where it was refused."""
    if not (visitor.may_operate and visitor.is_still_let_in()):
        _refuse("This needs the role operator.")
        return None
    _clear_notices()
    try:
        result = await backstage.give(partial(order, visitor.who()))
    except REFUSALS as error:
        refused(error)
        return None
    ui.notification(done, type="positive")
    return result


async def labelled(backstage: Backstage, visitor: Visitor, order: Callable[[], T]) -> T:
    """Gives an annotator's order. Raises LabelError without the role, and what the order raises."""
    if not (visitor.may_label and visitor.is_still_let_in()):
        raise LabelError("labelling needs the role annotator: log in again")
    return await backstage.give(order)


def refused(error: Exception) -> None:
    _refuse(in_one_line(error))


def _refuse(why: str) -> None:
    _clear_notices()
    ui.notification(why, type="negative", multi_line=True, timeout=_READ_FOR_S, close_button=True)


def _clear_notices() -> None:
    """They are of an order before this one, and would lie over its question."""
    for element in list(ui.context.client.elements.values()):
        if isinstance(element, ui.notification):
            element.dismiss()


def in_one_line(error: Exception) -> str:
    return refusal_of(error) if isinstance(error, ValidationError) else " ".join(str(error).split())
