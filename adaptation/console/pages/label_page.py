"""The labelling page: one region after the other, one key or click each; the next is fetched while this one is seen."""

import asyncio
import base64
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from fastapi import Request
from nicegui import ui
from nicegui.events import KeyEventArguments

from adaptation.console.backstage import Backstage
from adaptation.console.pages.charts import class_color
from adaptation.console.pages.elements import markup, styled
from adaptation.console.pages.orders import REFUSALS, in_one_line, labelled
from adaptation.console.pages.shell import nothing, page
from adaptation.console.pictures import region_picture, rgb_jpeg
from adaptation.console.sessions import Visitor
from adaptation.console.views.labels import Outlook, outlook, still_leased, why_none
from adaptation.control.labeling.leased_tasks import BadLabel, LeasedTask
from exchange.label_space import CLASS_NAMES
from exchange.markup import tag
from exchange.regions.tasks import UNSURE
from exchange.storage import StorageError

KEYS = "1234567890qwertyuio"
"""One for each class, as they lie on the keyboard."""
UNSURE_KEY, SKIP_KEY, UNDO_KEY = "x", "s", "z"
_WIDTH_PX = 720
_LOOK_AGAIN_S = 2.0
_LEFT_AFTER_S = 1.0
"""A page without a connection counts as closed: what it had taken is its annotator's next page's."""


@dataclass(frozen=True)
class Shown:
    """A region, ready to be seen."""

    task: LeasedTask
    picture: str
    """A data URL: the region in its surroundings, what is asked about outlined."""


def add_label_page(backstage: Backstage) -> None:
    @ui.page("/label", reconnect_timeout=_LEFT_AFTER_S)
    async def label(request: Request, domain: str = "") -> None:
        with page(request, "/labels", "Label") as visitor:
            if not visitor.may_label:
                nothing("Labelling needs the role annotator.", "Log in with an annotator's token, or an operator's.")
                return
            labelling = _Labelling(backstage, visitor, domain)
            labelling.render()
            ui.timer(_LOOK_AGAIN_S, labelling.look_again, immediate=True)
            ui.context.client.on_delete(labelling.close)


class _Labelling:
    """For one annotator's page."""

    def __init__(self, backstage: Backstage, visitor: Visitor, domain: str) -> None:
        self._backstage = backstage
        self._visitor = visitor
        self._annotator = visitor.annotator
        self._domain = domain
        self._now: Shown | None = None
        self._ahead: deque[Shown] = deque()
        self._is_busy = False
        self._fetching = asyncio.Lock()
        self._answered = 0
        self._said_none = ("", "")

    def render(self) -> None:
        with ui.element("div").classes("labelling"):
            self._picture = ui.element("div").classes("region")
            with ui.element("div").classes("answers"):
                with ui.element("div").classes("between wrap"):
                    self._asked = ui.label().classes("strong").props("role=status")
                    self._left = ui.label().classes("badge quiet")
                self._said = ui.label().classes("soft small").props("role=status")
                self._choices = ui.element("div").classes("classes")
                with self._choices:
                    for train_id, name in enumerate(CLASS_NAMES):
                        self._class_button(train_id, name)
                with ui.element("div").classes("buttons"):
                    self._unsure = _button("Unsure", UNSURE_KEY, partial(self._answer, UNSURE))
                    self._skip_it = _button("Skip", SKIP_KEY, self._skip)
                    _button("Undo", UNDO_KEY, self._undo)
                self._help = ui.label("What is outlined is asked about. Skip what nobody should label.").classes(
                    "soft small"
                )
        self._can_answer(False)
        ui.keyboard(self._key, repeating=False, ignore=["input", "select", "textarea"])

    def _class_button(self, train_id: int, name: str) -> None:
        with ui.element("button").classes("class").on("click", partial(self._answer, train_id)):
            styled(ui.element("i").classes("dot"), {"background": class_color(train_id)})
            ui.label(name)
            with ui.element("kbd"):
                ui.label(KEYS[train_id])

    async def _key(self, event: KeyEventArguments) -> None:
        pressed = event.key.name
        if not event.action.keydown or event.modifiers.ctrl or event.modifiers.alt or event.modifiers.meta:
            return
        if pressed in KEYS:
            await self._answer(KEYS.index(pressed))
        elif pressed == UNSURE_KEY:
            await self._answer(UNSURE)
        elif pressed == SKIP_KEY:
            await self._skip()
        elif pressed in (UNDO_KEY, "Backspace"):
            await self._undo()

    async def _answer(self, label: int) -> None:
        submit = self._backstage.labels.submit
        said = "unsure" if label == UNSURE else CLASS_NAMES[label]
        await self._leave(lambda task: submit(task.id, self._annotator, label), said)

    async def _skip(self) -> None:
        skip = self._backstage.labels.skip
        await self._leave(lambda task: skip(task.id, self._annotator), "skipped")

    async def _leave(self, order: Callable[[LeasedTask], object], said: str) -> None:
        """Shows the next region at once, and gives the answer for this one meanwhile."""
        if self._now is None or self._is_busy:
            return
        self._is_busy, left, self._now = True, self._now, None
        if self._ahead:
            self._show(self._ahead.popleft())
        try:
            await labelled(self._backstage, self._visitor, partial(order, left.task))
            self._answered += 1
            self._said.set_text(f"{self._answered} answered; the last: {said}")
        except StorageError as error:
            self._show_instead(left)
            self._said.set_text(f"this answer could not be kept, give it again: {in_one_line(error)}")
        except REFUSALS as error:
            self._said.set_text(f"the last answer did not count: {in_one_line(error)}")
        finally:
            self._is_busy = False
        await self._advance()

    async def _undo(self) -> None:
        if self._is_busy:
            return
        self._is_busy = True
        try:
            undo = partial(self._backstage.labels.undo, self._annotator)
            task = await labelled(self._backstage, self._visitor, undo)
            if task is None:
                self._said.set_text("there is no answer of yours to take back")
                return
            self._show_instead(await self._backstage.paint(partial(self._seen, task)))
            self._answered = max(self._answered - 1, 0)
            self._said.set_text("the last answer is taken back: answer anew")
        except REFUSALS as error:
            self._said.set_text(f"nothing could be taken back: {in_one_line(error)}")
        finally:
            self._is_busy = False

    async def look_again(self) -> None:
        """For what came while there was nothing to label."""
        if self._now is None and not self._is_busy:
            await self._advance()

    async def _advance(self) -> None:
        """Sees to it that there is a region to look at, and one after it."""
        try:
            async with self._fetching:
                while True:
                    seen, lost, fetched = await labelled(self._backstage, self._visitor, self._fetched)
                    self._drop(lost)
                    self._left.set_text(f"{seen.left} left")
                    if fetched is not None:
                        self._ahead.append(fetched)
                    if self._now is not None:
                        return
                    if not self._ahead:
                        self._show_none(*why_none(seen, self._domain))
                        return
                    self._show(self._ahead.popleft())
        except BadLabel:
            allowed = "letters, digits, spaces and @ . : + -"
            what = f"Labels cannot be kept under the name {self._annotator!r}."
            self._show_none(what, f"Give yourself another one, at the top right, of {allowed}")
        except REFUSALS as error:
            if self._now is None:
                self._show_none("No region can be fetched just now.", f"{in_one_line(error)}. The page tries again.")

    def _fetched(self) -> tuple[Outlook, list[Shown], Shown | None]:
        """In a thread: what there is, what was taken and is no more to be answered here, and the next region."""
        desk, taken = self._backstage.labels, self._taken()
        seen = outlook(desk, self._annotator, self._domain)
        held = still_leased(desk, self._annotator, {shown.task.domain for shown in taken})
        lost = [shown for shown in taken if shown.task.id not in held]
        if any(shown not in lost for shown in self._ahead) or not seen.domains:
            return seen, lost, None
        task = self._left_lying() or desk.lease(self._annotator, self._domain or None)
        here = {shown.task.id for shown in taken if shown not in lost}
        return seen, lost, None if task is None or task.id in here else self._seen(task)

    def _left_lying(self) -> LeasedTask | None:
        """What a closed page had taken, unless it was answered since, or went to somebody else."""
        desk, left = self._backstage.labels, self._backstage.left_lying
        while (task := left.take(self._annotator, self._domain)) is not None:
            if task.id in still_leased(desk, self._annotator, [task.domain]):
                return task
        return None

    def _drop(self, lost: list[Shown]) -> None:
        self._ahead = deque(shown for shown in self._ahead if shown not in lost)
        if self._now in lost:
            self._now = None

    def _taken(self) -> list[Shown]:
        return [shown for shown in (self._now, *self._ahead) if shown is not None]

    def close(self) -> None:
        """Leaves what was taken and not answered to the next page of the same annotator."""
        for shown in self._taken():
            self._backstage.left_lying.leave(self._annotator, shown.task)

    def _seen(self, task: LeasedTask) -> Shown:
        jpeg = rgb_jpeg(region_picture(self._backstage.labels.surroundings(task), _WIDTH_PX))
        return Shown(task, f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}")

    def _show_instead(self, shown: Shown) -> None:
        """And what is shown comes after it."""
        if self._now is not None:
            self._ahead.appendleft(self._now)
        self._show(shown)

    def _show(self, shown: Shown) -> None:
        self._now, self._said_none = shown, ("", "")
        predicted = CLASS_NAMES[shown.task.predicted]
        self._asked.set_text(f"What is outlined? The model says: {predicted}")
        self._picture.clear()
        with self._picture:
            described = f"a region of {shown.task.domain} that the model takes for {predicted}"
            markup(tag("img", {"src": shown.picture, "alt": described, "data-task": shown.task.id}))
        self._can_answer(True)

    def _show_none(self, what: str, do: str) -> None:
        self._can_answer(False)
        if (what, do) != self._said_none:
            self._said_none = (what, do)
            self._picture.clear()
            with self._picture:
                nothing(what, do)

    def _can_answer(self, can: bool) -> None:
        for element in (self._asked, self._left, self._choices, self._unsure, self._skip_it, self._help):
            element.set_visibility(can)


def _button(text: str, key: str, act: Callable[[], object]) -> ui.element:
    with ui.element("button").classes("class").on("click", act) as button:
        ui.label(text)
        with ui.element("kbd"):
            ui.label(key)
    return button
