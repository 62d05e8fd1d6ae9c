"""Audit: who did what."""

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
            heading("Audit", f"who did what in the last {BACK.days} days")
            await show_live(backstage.audit(), _render)


def _render(live: Live[AuditView]) -> None:
    with ui.element("div").classes("controls"):
        found = ui.input("who, what, or where").props("outlined dense clearable").classes("choice")
    live.part(lambda view: not view.lines, lambda none, _: _say_none(none))
    live.rows(
        lambda view: (line for line in view.lines if _matches(line, (found.value or "").lower())),
        lambda line: line,
        _line,
        "lines",
    )
    found.on_value_change(lambda: live.update(live.view))
    live.text(lambda view: f"{view.left_out:,} older ones are left out" if view.left_out else "", "soft")


def _matches(line: AuditLine, found: str) -> bool:
    return found in f"{line.who} {line.what} {line.domain} {line.why} {line.version or ''}".lower()


def _say_none(none: bool) -> None:
    if none:
        nothing("Nothing yet.", "Promotions, rollbacks, rounds past the gate, freezes and erasures are told here.")


def _line(line: AuditLine) -> None:
    with ui.element("div").classes("line"):
        with ui.element("div").classes("between wrap"):
            with ui.element("div").classes("chips"):
                ui.label(line.what).classes("strong")
                if line.forced:
                    ui.label("forced").classes("badge warn")
                if line.failed:
                    ui.label("failed").classes("badge bad")
                if line.version is not None:
                    ui.label(f"version {line.version}").classes("chip")
                if line.domain:
                    ui.label(line.domain).classes("chip")
                if line.round_id:
                    ui.link("round", f"/rounds/{line.round_id}")
            ui.label(clock(line.at)).classes("soft")
        ui.label(f"{line.who}{f': {line.why}' if line.why else ''}").classes("small")
