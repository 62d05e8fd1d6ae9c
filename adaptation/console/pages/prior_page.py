"""Prior: how often each class is seen here, how sure that is, and what of it is served."""

from contextlib import suppress
from functools import partial

from fastapi import Request
from nicegui import ui

from adaptation.console.backstage import Backstage
from adaptation.console.live import Live
from adaptation.console.pages.charts import class_color, prior_options, seen_options
from adaptation.console.pages.elements import local_address, styled
from adaptation.console.pages.orders import agreed, given
from adaptation.console.pages.shell import (
    PATIENCE_S,
    choice,
    heading,
    nothing,
    page,
    say_unknown_domain,
    second_heading,
    show_live,
    table_head,
)
from adaptation.console.pages.words import clock, percent
from adaptation.console.sessions import Visitor
from adaptation.console.views.prior import ClassPrior, PriorView, newest_estimated_domain
from exchange.storage import StorageError
from exchange.storage.records import RecordError

_MOST_LINES = 6


def add_prior_page(backstage: Backstage) -> None:
    @ui.page("/prior", response_timeout=PATIENCE_S)
    async def prior(request: Request, domain: str = "") -> None:
        with page(request, "/prior", "Prior") as visitor:
            heading("Prior", "how often frames hold a class here, and what of that is added to the network's word")
            chosen = domain
            if not chosen:
                with suppress(RecordError, StorageError):  # which the view below tells
                    chosen = await backstage.read(partial(newest_estimated_domain, backstage.root))
            await show_live(backstage.prior(chosen), partial(_render, backstage, visitor, domain))


def _render(backstage: Backstage, visitor: Visitor, asked: str, live: Live[PriorView]) -> None:
    view = live.view
    say_unknown_domain(asked, view.domain)
    with ui.element("div").classes("controls"):
        chosen = choice("domain", view.domains, view.domain)
        chosen.on_value_change(lambda event: ui.navigate.to(local_address("/prior", domain=event.value)))
        if visitor.may_operate:
            live.part(
                lambda view: view.frozen, lambda frozen, _: _buttons(backstage, visitor, view.domain, frozen), "buttons"
            )
    live.part(_state, lambda text, _: ui.label(text).classes("soft"))
    live.part(lambda view: bool(view.classes), _charts)


def _state(view: PriorView) -> str:
    if view.estimated_at is None:
        return ""
    since = f", counted since {clock(view.since)}" if view.since else ""
    frozen = "; frozen: the plan keeps what it has" if view.frozen else ""
    return (
        f"by version {view.version} on {view.frames:,} frames, worth {view.effective_frames:,} independent ones"
        f"{since}; served as {view.prior_id}{frozen}"
    )


def _charts(is_known: bool, live: Live[PriorView]) -> None:
    if not is_known:
        nothing(
            "No estimate yet.", "It appears some seconds after the version that serves has answered 32 frames here."
        )
        return
    second_heading("Now: share of frames that hold a class")
    bars = ui.echart(prior_options(live.view)).classes("chart tall")
    live.follow(lambda view: view.classes, lambda _: _redraw(bars, prior_options(live.view)))
    second_heading("Over the last three hours")
    moved = sorted(live.view.classes, key=lambda each: -abs(each.served))[:_MOST_LINES]
    lines = ui.echart(seen_options(live.view, [each.train_id for each in moved])).classes("chart")
    live.follow(lambda view: view.seen, lambda _: _redraw_series(lines, live.view))
    second_heading("In numbers")
    live.part(lambda view: view.classes, lambda classes, _: _table(classes), "scroll")


def _redraw(chart: ui.echart, options: dict[str, object]) -> None:
    chart.options.update(options)
    chart.update()


def _redraw_series(chart: ui.echart, view: PriorView) -> None:
    """Without the legend, which whoever looks may have changed."""
    options = seen_options(view, ())
    chart.options["xAxis"], chart.options["series"] = options["xAxis"], options["series"]
    chart.update()


def _table(classes: tuple[ClassPrior, ...]) -> None:
    with ui.element("table"):
        table_head("class", "source", "here", "90 % interval", "log ratio", "served")
        with ui.element("tbody"):
            for each in classes:
                with ui.element("tr"):
                    with ui.element("td"):
                        styled(ui.element("i").classes("dot"), {"background": class_color(each.train_id)})
                        ui.label(each.name)
                    interval = f"{percent(each.low, 1)} to {percent(each.high, 1)}"
                    cells = percent(each.source, 1), percent(each.estimated, 1), interval
                    for cell in (*cells, f"{each.log_ratio:+.2f}", f"{each.served:+.2f}"):
                        with ui.element("td"):
                            ui.label(cell)


def _buttons(backstage: Backstage, visitor: Visitor, domain: str, frozen: bool) -> None:
    operations = backstage.learner.operations

    async def freeze() -> None:
        effect = (
            f"{domain}: the prior follows the frames again, from the learner's next estimate on"
            if frozen
            else f"{domain}: the prior stays as it is served now, whatever the frames show, until somebody lets it move"
        )
        why = await agreed("Let the prior move?" if frozen else "Freeze the prior?", effect, _verb(frozen))
        if why is not None:
            done = f"the prior of {domain} {'moves again' if frozen else 'stays as it is'}"
            order = partial(operations.freeze_prior, domain, frozen=not frozen, why=why)
            await given(backstage, visitor, lambda by: order(by=by), done)

    async def reset() -> None:
        effect = f"{domain}: what its frames have shown is forgotten; without adjustment until new ones say enough"
        why = await agreed("Reset the prior?", effect, "Reset the prior")
        if why is not None:
            order = partial(operations.reset_prior, domain, why=why)
            await given(backstage, visitor, lambda by: order(by=by), f"the prior of {domain} begins anew")

    ui.button(f"{_verb(frozen)}…", on_click=freeze).props("outline no-caps")
    ui.button("Reset…", on_click=reset).props("outline no-caps")


def _verb(frozen: bool) -> str:
    return "Let it move" if frozen else "Freeze"
