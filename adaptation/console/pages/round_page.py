"""One round: how far it is, what it learnt, what the gate said, and its frames before and after."""

from datetime import datetime
from functools import partial

from fastapi import Request
from nicegui import ui

from adaptation.console.backstage import Backstage
from adaptation.console.live import Live
from adaptation.console.pages.charts import curve_options
from adaptation.console.pages.elements import markup
from adaptation.console.pages.layers import slider
from adaptation.console.pages.orders import agreed, given, in_one_line
from adaptation.console.pages.rounds_page import phase_badge
from adaptation.console.pages.shell import (
    PATIENCE_S,
    heading,
    not_there,
    nothing,
    page,
    second_heading,
    show_live,
    table_head,
)
from adaptation.console.pages.words import clock, lasted
from adaptation.console.sessions import Visitor
from adaptation.console.views.rounds import PATH, Curve, GateRow, ReportPictures, RoundDetail, pictures_of, read_page
from adaptation.control.rounds.round_state import NoSuchRound, Phase, RoundId, read_round
from exchange.markup import tag
from exchange.storage import StorageError
from exchange.storage.records import RecordError


def add_round_page(backstage: Backstage) -> None:
    @ui.page("/rounds/{round_id}", response_timeout=PATIENCE_S)
    async def round_(request: Request, round_id: RoundId) -> None:
        with page(request, "/rounds", "Round") as visitor:
            try:
                await backstage.read(partial(read_round, backstage.root, round_id))
            except (NoSuchRound, RecordError) as error:
                not_there(404, "There is no such round.", in_one_line(error))
            except StorageError as error:
                not_there(503, "This round cannot be read just now.", in_one_line(error))
            else:
                await show_live(backstage.round(round_id), partial(_render, backstage, visitor))


def _render(backstage: Backstage, visitor: Visitor, live: Live[RoundDetail]) -> None:
    line = live.view.line
    heading(f"Round in {line.domain}", f"{line.id}, {line.recipe}, asked for by {line.requested_by}")
    live.part(lambda view: view.line.phase, lambda phase, _: _path(phase))
    live.part(_state, lambda value, _: _say_state(*value))
    live.part(_step, lambda value, _: _progress(*value))
    if visitor.may_operate:
        live.part(
            lambda view: view.line.phase.is_final or view.cancelled_by is not None,
            lambda is_over, _: None if is_over else _cancel_button(backstage, visitor, live),
        )
    live.part(lambda view: tuple(curve.step for curve in view.curves), _curves)
    live.part(lambda view: (view.gate, view.gate_passed), lambda value, _: _gate(*value))
    live.part(lambda view: view.has_report, lambda is_there, _: _report(backstage, line.id) if is_there else None)
    second_heading("What happened")
    live.part(lambda view: view.events, lambda events, _: _events(events), "events")


def _state(view: RoundDetail) -> tuple[Phase, str, str]:
    facts = [f"starts from release {view.start_version}"] if view.start_version else []
    facts += [f"{view.frames} captured frames"] if view.frames else []
    facts += [f"{view.minutes:g} minutes"] if view.minutes else []
    facts += [f"worked for {lasted(view.worked_s)}"] if view.worked_s else []
    facts += ["goes past the gate"] if view.force else []
    facts += [f"made release {view.line.version}"] if view.line.version else []
    return view.line.phase, view.line.reason or view.note, ", ".join(facts)


def _say_state(phase: Phase, reason: str, facts: str) -> None:
    with ui.element("div").classes("strip").props("role=status"):
        phase_badge(phase)
        ui.label(reason or "under way").classes("strong" if reason else "soft")
    ui.label(facts).classes("soft")


def _path(phase: Phase) -> None:
    """The phases of a round that ends well, and where this one is, or ended."""
    reached = PATH.index(phase) if phase in PATH else -1
    with ui.element("ol").classes("path"):
        for place, name in enumerate(PATH):
            with ui.element("li") as item:
                ui.label(name)
            if place <= reached:
                item.classes("done" if place < reached or phase.is_final else "now")
        if phase not in PATH:
            with ui.element("li").classes("ended"):
                ui.label(phase)


def _step(view: RoundDetail) -> tuple[str, int, int]:
    is_learning = view.line.phase is Phase.LEARNING
    return (view.step, view.done, view.total) if is_learning else ("", 0, 0)


def _progress(step: str, done: int, total: int) -> None:
    if total:
        ui.label(f"{step}: {done} of {total}")
        ui.linear_progress(done / total, show_value=False, size="8px")


def _cancel_button(backstage: Backstage, visitor: Visitor, live: Live[RoundDetail]) -> None:
    async def cancel() -> None:
        view = live.view
        candidate = (
            f"; release {view.line.version} is dropped as a candidate" if view.line.phase is Phase.ROLLOUT else ""
        )
        effect = f"The round in {view.line.domain} ends, and what it has learnt so far is lost{candidate}."
        if await agreed("Cancel this round?", effect, "Cancel the round") is not None:
            end = backstage.learner.operations.cancel_round
            await given(backstage, visitor, lambda by: end(view.line.id, by=by), "the round is being cancelled")

    ui.button("Cancel the round…", on_click=cancel).props("outline no-caps color=negative")


def _curves(steps: tuple[str, ...], live: Live[RoundDetail]) -> None:
    for place, step in enumerate(steps):
        second_heading(step)
        chart = ui.echart(curve_options(live.view.curves[place])).classes("chart")
        live.follow(partial(_curve_at, place), partial(_redraw, chart))


def _curve_at(place: int, view: RoundDetail) -> Curve:
    return view.curves[place]


def _redraw(chart: ui.echart, curve: Curve) -> None:
    chart.options.update(curve_options(curve))
    chart.update()


def _gate(rows: tuple[GateRow, ...], passed: bool | None) -> None:
    if passed is None:
        return
    second_heading("The gate")
    ui.label("let it pass" if passed else "refused it").classes(f"badge {'good' if passed else 'bad'}")
    with ui.element("div").classes("scroll"), ui.element("table").classes("gate"):
        table_head("check", "number", "limit", "verdict", "what it means")
        with ui.element("tbody"):
            for row in rows:
                with ui.element("tr").classes("" if row.passed else "refused"):
                    for cell in (row.name, row.value, row.limit, "passes" if row.passed else "refuses", row.meaning):
                        with ui.element("td"):
                            ui.label(cell)


def _report(backstage: Backstage, round_id: str) -> None:
    second_heading("Before and after")
    box = ui.element("div")

    async def fill() -> None:
        try:
            found = await backstage.read(lambda: read_page(backstage.root, round_id))
        except StorageError as error:
            with box:
                nothing("The report cannot be read.", in_one_line(error))
            return
        with box:
            shown = () if found is None else await backstage.paint(partial(pictures_of, found))
            for pictures in shown:
                _before_and_after(pictures)
            if not shown:
                ui.label("The report shows no frames.").classes("soft")
            ui.link("the whole report", f"/report/{round_id}", new_tab=True)

    ui.timer(0, fill, once=True)


def _before_and_after(pictures: ReportPictures) -> None:
    """Of one frame; a slider moves the border between the two."""
    before, after, truth = pictures["before"], pictures["after"], pictures["truth"]
    if before is None or after is None:
        return
    with ui.element("div").classes("sees report-frames"):
        compared = tag(
            "div",
            {"class": "layers compared"},
            tag("img", {"src": before, "alt": "labels before"}),
            tag("img", {"class": "other", "src": after, "alt": "labels after"}),
            tag("i", {"class": "split"}),
        )
        border = slider("split", 50, {"aria-label": "border between before and after"})
        caption = tag("figcaption", None, "before, and after right of the border")
        markup(tag("figure", None, compared, border, caption))
        if truth is not None:
            shown = tag("img", {"src": truth, "alt": "true labels"})
            markup(tag("figure", None, shown, tag("figcaption", None, "truth")))


def _events(events: tuple[tuple[datetime, str], ...]) -> None:
    for at, text in events:
        with ui.element("div").classes("event"):
            ui.label(clock(at)).classes("soft")
            ui.label(text)
