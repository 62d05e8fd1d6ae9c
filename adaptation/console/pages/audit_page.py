"""Audit: who did what."""

from urllib.parse import quote

from fastapi import Request
from nicegui import ui

from adaptation.console.backstage import Backstage
from adaptation.console.live import Live
from adaptation.console.pages.elements import markup
from adaptation.console.pages.shell import heading, nothing, page, show_live
from adaptation.console.pages.words import clock
from adaptation.console.views.audit import BACK, AuditLine, AuditView
from exchange.markup import tag


def add_audit_page(backstage: Backstage) -> None:
    @ui.page("/audit")
    async def audit(request: Request) -> None:
        with page(request, "/audit", "Audit"):
            heading("Audit", f"who did what in the last {BACK.days} days, the newest first; times are UTC")
            await show_live(backstage.audit(), _render)


def _render(live: Live[AuditView]) -> None:
    with ui.element("div").classes("controls"):
        found = ui.input("who, what, or where").props("outlined dense clearable").classes("choice")
    live.part(lambda view: not view.lines, lambda none, _: _say_none(none))
    live.rows(
        lambda view: (line for line in view.lines if _matches(line, found.value or "")),
        lambda line: line,
        _line,
        "lines",
    )
    found.on_value_change(lambda: live.update(live.view))
    live.text(lambda view: _say_how_many(view, found.value or ""), "soft")


def _matches(line: AuditLine, found: str) -> bool:
    told = f"{line.who} {line.what} {line.domain} {line.why} {line.round_id or ''} version {line.version or ''}"
    return found.lower() in f"{told} {' '.join(map(' '.join, line.details))}".lower()


def _say_how_many(view: AuditView, found: str) -> str:
    if view.lines and not any(_matches(line, found) for line in view.lines):
        return f"None of the newest {len(view.lines)} entries has {found!r} in it."
    return f"{view.left_out:,} older ones are left out" if view.left_out else ""


def _say_none(none: bool) -> None:
    if none:
        nothing(
            "Nothing was done yet.",
            "Rounds, promotions, rollbacks, pins, freezes, erasures and labels that were asked for are told here.",
        )


def _line(line: AuditLine) -> None:
    """One element, for there are hundreds."""
    marks = [("warn", "forced")] if line.forced else []
    marks += [("bad", "failed")] if line.failed else []
    chips = [f"version {line.version}"] if line.version is not None else []
    chips += [line.domain] if line.domain else []
    told = [("by", line.who)]
    told += [("because" if line.failed else "why", line.why)] if line.why else []
    head = [tag("span", {"class": "strong"}, line.what)]
    head += [tag("span", {"class": f"badge {kind}"}, text) for kind, text in marks]
    head += [tag("span", {"class": "chip"}, text) for text in chips]
    if line.round_id:
        head.append(tag("a", {"href": f"/rounds/{quote(line.round_id)}"}, f"round {line.round_id}"))
    facts = [tag("div", None, tag("dt", None, name), tag("dd", None, value)) for name, value in (*told, *line.details)]
    at = tag("span", {"class": "soft"}, clock(line.at))
    between = tag("div", {"class": "between wrap"}, tag("div", {"class": "chips"}, *head), at)
    markup(tag("div", {"class": "line"}, between, tag("dl", {"class": "told"}, *facts)))
