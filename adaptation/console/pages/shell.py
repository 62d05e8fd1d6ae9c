"""What every page has: the way to the others, who looks, and what to do where nothing can be shown."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TypeVar

from fastapi import Request
from nicegui import ui

from adaptation.console.access import form_token_of, visitor_of
from adaptation.console.live import Live
from adaptation.console.look import Look, Seen
from adaptation.console.pages.elements import attributed
from adaptation.console.pages.words import clock
from adaptation.console.sessions import Visitor

View = TypeVar("View")
Value = TypeVar("Value")
EVERY_S = 1.0
_LET_IN_EVERY_S = 2.0
PATIENCE_S = 10.0
"""Of pages that must read something before they know what they are; by then storage has failed, and they say so."""
_PLACES = (
    ("n", "Now", "/"),
    ("f", "Frames", "/frames"),
    ("r", "Rounds", "/rounds"),
    ("v", "Releases", "/releases"),
    ("p", "Prior", "/prior"),
    ("l", "Labels", "/labels"),
    ("a", "Audit", "/audit"),
)


@contextmanager
def page(request: Request, here: str, title: str) -> Iterator[Visitor]:
    """The page around its own part; `here` is the place that it belongs to."""
    visitor = visitor_of(request)
    ui.page_title(f"{title} · roadshift")
    ui.colors(positive="#2a7d46", dark="#191f29", dark_page="#11151c")
    ui.link("to the page", "#page").classes("skip")
    with ui.element("header").classes("top"):
        ui.link("roadshift", "/").classes("brand")
        with ui.element("nav").props('aria-label="Pages"'):
            for key, name, target in _PLACES:
                link = attributed(ui.link(name, target), {"data-key": key, "title": f"key {key}"})
                if target == here:
                    link.props("aria-current=page")
        _who(visitor, request)
    with ui.element("div").props("id=page tabindex=-1"):
        yield visitor
    _end_with(visitor)  # last: NiceGUI answers as soon as a page has a timer, and before it has its status


def _end_with(visitor: Visitor) -> None:
    """Has the browser load the page anew once its visitor is let in no more, and takes no orders from it any longer."""
    client = ui.context.client

    def look() -> None:
        if not visitor.is_still_let_in():
            ui.navigate.reload()
            client.remove_all_elements()

    ui.timer(_LET_IN_EVERY_S, look)


def heading(text: str, note: str = "") -> None:
    with ui.element("div").classes("heading"):
        with ui.element("h1"):
            ui.label(text)
        if note:
            ui.label(note).classes("soft")


def second_heading(text: str) -> None:
    with ui.element("h2"):
        ui.label(text)


def nothing(what: str, do: str) -> ui.element:
    """An empty place, and what fills it."""
    with ui.element("div").classes("nothing") as box:
        ui.label(what).classes("strong")
        ui.label(do).classes("soft")
    return box


def not_there(status: int, what: str, do: str) -> None:
    """The whole of a page that has nothing to show, answered with an HTTP status."""
    ui.context.client.status_code = status
    with nothing(what, do):
        ui.link("Back to what is served now", "/")


def say_unknown_domain(asked: str, shown: str) -> None:
    """Where the address names a domain that is not there, and another is shown instead."""
    if asked and asked != shown:
        instead = f"; this is {shown}" if shown else ""
        ui.label(f"There is no domain {asked[:64]!r} here{instead}.").classes("warn-text").props("role=status")


def table_head(*names: str) -> None:
    with ui.element("thead"), ui.element("tr"):
        for name in names:
            with ui.element("th").props("scope=col"):
                ui.label(name)


def table_row(*cells: str) -> ui.element:
    with ui.element("tr") as row:
        for cell in cells:
            with ui.element("td"):
                ui.label(cell)
    return row


def choice(label: str, options: Mapping[Value, str] | Sequence[Value], value: Value | None) -> ui.select:
    """One of a few; with a label that stays."""
    chosen = dict(options) if isinstance(options, Mapping) else list(options)
    return ui.select(chosen, label=label, value=value).props("outlined dense options-dense").classes("choice")


async def show_live(look: Look[View], render: Callable[[Live[View]], None]) -> None:
    """Renders a view, and follows it once a second; says so where it is an old one, or there is none."""
    seen = await look.now()
    told: Live[Seen[View]] = Live(seen)
    told.part(lambda seen: (seen.trouble, seen.at if seen.trouble else None), lambda value, _: _say_trouble(*value))
    box = ui.element("div").classes("live")
    live: Live[View] | None = None

    def show(seen: Seen[View]) -> None:
        nonlocal live
        told.update(seen)
        if seen.view is None:
            return
        if live is None:
            live = Live(seen.view)
            with box:
                render(live)
        else:
            live.update(seen.view)

    async def follow() -> None:
        show(await look.now())

    show(seen)
    ui.timer(EVERY_S, follow, immediate=False)


def _say_trouble(trouble: str, at: datetime | None) -> None:
    if not trouble:
        return
    with ui.element("div").classes("trouble").props("role=alert"):
        ui.label(trouble).classes("strong")
        shown = f"What is shown is of {clock(at)} UTC. " if at is not None else ""
        ui.label(f"{shown}The page goes on by itself once this is mended.")


def _who(visitor: Visitor, request: Request) -> None:
    may = "operator" if visitor.may_operate else "annotator" if visitor.may_label else "read-only"
    with ui.element("details").classes("who"):
        with ui.element("summary"):
            if visitor.name != may:
                ui.label(visitor.name)
            ui.label(may).classes("badge" if visitor.may_operate else "badge quiet")
        with ui.element("form").props("method=post action=/name"):
            attributed(ui.element("input").props("type=hidden name=next"), {"value": request.url.path})
            attributed(ui.element("input").props("type=hidden name=form"), {"value": form_token_of(request)})
            ui.label("Your name, for the audit").props("id=who-name")
            ui.element("input").props("name=name maxlength=64 required aria-labelledby=who-name autocomplete=nickname")
            with ui.element("button"):
                ui.label("Keep it")
