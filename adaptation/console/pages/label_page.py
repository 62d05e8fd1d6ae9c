"""The labelling page: one region after the other, one key or click each; the next is fetched while this one is seen."""

import asyncio
import base64
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from html import escape

import cv2
import numpy as np
from fastapi import Request
from nicegui import ui
from nicegui.events import KeyEventArguments
from numpy.typing import NDArray

from adaptation.annotation.desk import LeasedTask
from adaptation.annotation.surroundings import Surroundings
from adaptation.console.backstage import Backstage
from adaptation.console.pages.charts import class_color
from adaptation.console.pages.orders import REFUSALS, in_one_line, refused
from adaptation.console.pages.shell import nothing, page
from adaptation.console.pictures import rgb_jpeg
from exchange.label_space import CLASS_NAMES
from exchange.regions import UNSURE

KEYS = "1234567890qwertyuio"
"""One for each class, as they lie on the keyboard."""
UNSURE_KEY, SKIP_KEY, UNDO_KEY = "x", "s", "z"
_WIDTH_PX = 720
_DIM = 0.45


@dataclass(frozen=True)
class Shown:
    """A region, ready to be seen."""

    task: LeasedTask
    picture: str
    """A data URL: the region in its surroundings, what is asked about outlined."""


def add_label_page(backstage: Backstage) -> None:
    @ui.page("/label")
    async def label(request: Request, domain: str = "") -> None:
        with page(request, "/labels", "Label") as visitor:
            if not visitor.may_label:
                nothing("Labelling needs the role annotator.", "Log in with an annotator's token, or an operator's.")
                return
            labelling = _Labelling(backstage, visitor.name, domain or None)
            labelling.render()
            ui.timer(0, labelling.advance, once=True)


class _Labelling:
    """For one annotator's page."""

    def __init__(self, backstage: Backstage, annotator: str, domain: str | None) -> None:
        self._backstage = backstage
        self._annotator = annotator
        self._domain = domain
        self._now: Shown | None = None
        self._next: Shown | None = None
        self._is_busy = False
        self._fetching = asyncio.Lock()
        self._answered = 0

    def render(self) -> None:
        with ui.element("div").classes("labelling"):
            self._picture = ui.element("div").classes("region")
            with ui.element("div").classes("answers"):
                self._asked = ui.label().classes("strong").props("role=status")
                self._said = ui.label().classes("soft small").props("role=status")
                with ui.element("div").classes("classes"):
                    for train_id, name in enumerate(CLASS_NAMES):
                        self._class_button(train_id, name)
                with ui.element("div").classes("buttons"):
                    _button("Unsure", UNSURE_KEY, partial(self._answer, UNSURE))
                    _button("Skip", SKIP_KEY, self._skip)
                    _button("Undo", UNDO_KEY, self._undo)
                ui.label("The outlined part of the marked box is asked about. Skip what nobody should label.").classes(
                    "soft small"
                )
        ui.keyboard(self._key, repeating=False, ignore=["input", "select", "textarea"])

    def _class_button(self, train_id: int, name: str) -> None:
        with ui.element("button").classes("class").on("click", partial(self._answer, train_id)):
            ui.element("i").classes("dot").style(f"background:{class_color(train_id)}")
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
        if self._next is not None:
            self._show(self._next)
        try:
            await self._backstage.give(partial(order, left.task))
            self._answered += 1
            self._said.set_text(f"{self._answered} answered; the last: {said}")
        except REFUSALS as error:
            self._said.set_text(f"the last answer did not count: {in_one_line(error)}")
        finally:
            self._is_busy = False
        await self.advance()

    async def _undo(self) -> None:
        if self._is_busy:
            return
        self._is_busy = True
        try:
            task = await self._backstage.give(partial(self._backstage.labels.undo, self._annotator))
            if task is None:
                self._said.set_text("there is no answer of yours to take back")
                return
            shown = await self._backstage.give(partial(self._seen, task))
            if self._now is not None and self._now is not shown:
                self._next = self._now
            self._answered = max(self._answered - 1, 0)
            self._said.set_text("the last answer is taken back: answer anew")
            self._show(shown, keep_next=True)
        except REFUSALS as error:
            refused(error)
        finally:
            self._is_busy = False

    async def advance(self) -> None:
        """Sees to it that there is a region to look at, and one after it."""
        try:
            async with self._fetching:
                if self._now is None:
                    first = self._next or await self._backstage.give(self._fetched)
                    if first is None:
                        self._show_none()
                        return
                    self._show(first)
                if self._next is None:
                    self._next = await self._backstage.give(self._fetched)
        except REFUSALS as error:
            refused(error)

    def _fetched(self) -> Shown | None:
        """In a thread."""
        task = self._backstage.labels.lease(self._annotator, self._domain)
        if task is None or (self._now is not None and task.id == self._now.task.id):
            return None
        return self._seen(task)

    def _seen(self, task: LeasedTask) -> Shown:
        jpeg = rgb_jpeg(region_picture(self._backstage.labels.surroundings(task), task.predicted, _WIDTH_PX))
        return Shown(task, f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}")

    def _show(self, shown: Shown, *, keep_next: bool = False) -> None:
        self._now = shown
        if not keep_next:
            self._next = None
        predicted = CLASS_NAMES[shown.task.predicted]
        self._asked.set_text(f"What is outlined? The model says: {predicted}")
        self._picture.clear()
        with self._picture:
            described = f"a region of {shown.task.domain} that the model takes for {predicted}"
            ui.html(f'<img src="{shown.picture}" alt="{escape(described, quote=True)}">', sanitize=False)

    def _show_none(self) -> None:
        self._asked.set_text("")
        self._picture.clear()
        with self._picture:
            nothing("Nothing to label just now.", "All regions are answered, or out with others. Come back later.")


def region_picture(seen: Surroundings, predicted: int, width: int) -> NDArray[np.uint8]:
    """The crop enlarged, its surroundings dimmed, what is asked about outlined, uint8 [H, W, 3]."""
    rows, columns = seen.rgb_HW3.shape[:2]
    scale = width / columns
    size = (width, max(1, round(rows * scale)))
    large = cv2.resize(seen.rgb_HW3, size, interpolation=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA)
    box = np.zeros((rows, columns), np.uint8)
    box[seen.box.top : seen.box.bottom, seen.box.left : seen.box.right] = 1
    inside = cv2.resize(box, size, interpolation=cv2.INTER_NEAREST_EXACT).astype(bool)
    segment = cv2.resize(seen.segment(predicted).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT)
    large[~inside] = (large[~inside] * (1 - _DIM)).astype(np.uint8)
    outlines, _ = cv2.findContours(segment, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(large, outlines, -1, (0, 0, 0), 4)
    cv2.drawContours(large, outlines, -1, (255, 255, 255), 2)
    return np.asarray(large, dtype=np.uint8)


def _button(text: str, key: str, act: Callable[[], object]) -> None:
    with ui.element("button").classes("class").on("click", act):
        ui.label(text)
        with ui.element("kbd"):
            ui.label(key)
