"""Labels: what people are asked, how far they are, and whether they agree."""

from functools import partial

from fastapi import Request
from nicegui import ui

from adaptation.console.backstage import Backstage
from adaptation.console.live import Live
from adaptation.console.pages.elements import attributed, local_address
from adaptation.console.pages.shell import (
    heading,
    nothing,
    page,
    say_unknown_domain,
    second_heading,
    show_live,
    table_head,
    table_row,
)
from adaptation.console.pages.words import percent
from adaptation.console.sessions import Visitor
from adaptation.console.views.labels import HOW_TO_ASK, LabelsView
from adaptation.control.labeling.progress import LabelProgress, TaskSummary
from exchange.label_space import CLASS_NAMES
from exchange.regions.tasks import UNSURE

_SHOWN = 40


def add_labels_page(backstage: Backstage) -> None:
    @ui.page("/labels")
    async def labels(request: Request, domain: str = "") -> None:
        with page(request, "/labels", "Labels") as visitor:
            heading("Labels", "regions that people are asked to name, one click each")
            await show_live(backstage.queue(domain), partial(_render, visitor, domain))


def _render(visitor: Visitor, asked: str, live: Live[LabelsView]) -> None:
    live.part(lambda view: view.domain, lambda shown, _: say_unknown_domain(asked, shown))
    live.part(lambda view: not view.domains, lambda none, _: _say_none(none))
    live.rows(lambda view: view.domains, lambda progress: progress.domain, partial(_progress, visitor), "cards")
    live.part(lambda view: (view.domain, view.queue[:_SHOWN], view.queued), lambda value, _: _queue(*value))


def _say_none(none: bool) -> None:
    if none:
        nothing("Nobody was asked for labels yet.", HOW_TO_ASK)


def _progress(visitor: Visitor, progress: LabelProgress) -> None:
    with attributed(ui.element("section").classes("card"), {"aria-label": f"labels of {progress.domain}"}):
        with ui.element("div").classes("between"):
            ui.label(progress.domain).classes("strong")
            ui.link("the queue", local_address("/labels", domain=progress.domain))
        ui.label(f"{progress.clicks_used} of {progress.clicks_budget} clicks").classes("big")
        ui.linear_progress(progress.clicks_used / max(progress.clicks_budget, 1), show_value=False, size="8px")
        figures = {
            "waiting": str(progress.waiting),
            "out with people": str(progress.leased),
            "labelled": str(progress.labelled),
            "unsure": str(progress.unsure),
            "skipped": str(progress.skipped),
            "agreement": f"{percent(progress.agreement)} of {progress.agreed_of}" if progress.agreed_of else "–",
            "disputed": str(progress.disputed),
            "held out": f"{progress.held_out} ({percent(progress.sentinel_share)})",
            "time": f"{progress.minutes:.0f} min",
            "a click": "–" if progress.seconds_a_click is None else f"{progress.seconds_a_click:.1f} s",
        }
        with ui.element("dl").classes("figures"):
            for name, value in figures.items():
                with ui.element("div"):
                    with ui.element("dt"):
                        ui.label(name)
                    with ui.element("dd"):
                        ui.label(value)
        if progress.picking:
            ui.label("the learner is choosing regions").classes("badge")
        for why in progress.failed:
            ui.label(f"no regions could be chosen: {why}").classes("warn-text small")
        if visitor.may_label and progress.clicks_left:
            ui.link("Label regions", local_address("/label", domain=progress.domain)).classes("call")


def _queue(domain: str, queue: tuple[TaskSummary, ...], queued: int) -> None:
    if not queue:
        return
    shown = "" if queued <= len(queue) else f", {len(queue)} of {queued}"
    second_heading(f"The queue of {domain}, the open ones first{shown}")
    with ui.element("div").classes("scroll"), ui.element("table").classes("words"):
        table_head("state", "the model says", "score", "answered by", "with", "label", "")
        with ui.element("tbody"):
            for task in queue:
                said = "" if task.label is None else "unsure" if task.label == UNSURE else CLASS_NAMES[task.label]
                held_out = "held out" if task.is_held_out else ""
                people = ", ".join(task.answered_by), ", ".join(task.leased_by)
                table_row(task.state, CLASS_NAMES[task.predicted], f"{task.score:.3f}", *people, said, held_out)
