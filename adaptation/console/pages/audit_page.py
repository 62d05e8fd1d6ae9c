"""Audit: who did what."""

from html import escape

from fastapi import Request
from nicegui import ui

from adaptation.console.backstage import Backstage
from adaptation.console.live import Live
from adaptation.console.pages.shell import heading, nothing, page, show_live
from adaptation.console.pages.words import clock
from adaptation.console.views.audit import BACK, AuditLine, AuditView


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
    head = f'<span class="strong">{escape(line.what)}</span>'
    head += "".join(f'<span class="badge {kind}">{text}</span>' for kind, text in marks)
    head += "".join(f'<span class="chip">{escape(text)}</span>' for text in chips)
    if line.round_id:
        name = escape(line.round_id, quote=True)
        head += f'<a href="/rounds/{name}">round {name}</a>'
    facts = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in (*told, *line.details)
    )
    ui.html(
        f'<div class="line"><div class="between wrap"><div class="chips">{head}</div>'
        f'<span class="soft">{clock(line.at)}</span></div><dl class="told">{facts}</dl></div>',
        sanitize=False,
    )
