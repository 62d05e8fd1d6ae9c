"""Rounds: a form that starts one, and those that there were."""

from functools import partial

from fastapi import Request
from nicegui import ui
from pydantic import ValidationError

from adaptation.console.backstage import Backstage
from adaptation.console.live import Live
from adaptation.console.pages.orders import given, refused
from adaptation.console.pages.shell import choice, heading, nothing, page, second_heading, show_live
from adaptation.console.pages.words import clock
from adaptation.console.sessions import Visitor
from adaptation.console.views.rounds import RoundLine, RoundsView
from adaptation.service.round_runner import FEWEST_FRAMES
from adaptation.service.round_state import MOST_MINUTES, Phase
from adaptation.service.round_state import Request as Asked

_BADGES = {Phase.PROMOTED: "good", Phase.REJECTED: "warn", Phase.FAILED: "bad", Phase.CANCELLED: "quiet"}


def add_rounds_page(backstage: Backstage) -> None:
    @ui.page("/rounds")
    async def rounds(request: Request) -> None:
        with page(request, "/rounds", "Rounds") as visitor:
            heading("Rounds", "captured frames in, a candidate release out, if the gate lets it pass")
            await show_live(backstage.rounds(), partial(_render, backstage, visitor))


def phase_badge(phase: Phase) -> None:
    ui.label(phase).classes(f"badge {_BADGES.get(phase, '')}")


def _render(backstage: Backstage, visitor: Visitor, live: Live[RoundsView]) -> None:
    if visitor.may_operate:
        second_heading("Start one")
        _form(backstage, visitor, live)
    second_heading("There were")
    live.part(lambda view: not view.rounds, lambda none, _: _say_none(none))
    live.rows(lambda view: view.rounds, lambda line: line.id, _line, "lines")


def _say_none(none: bool) -> None:
    if none:
        nothing(
            "No round yet.", "Start one above, or let drift start them: roadshift trigger set --domain NAME --drift"
        )


def _form(backstage: Backstage, visitor: Visitor, live: Live[RoundsView]) -> None:
    captured, recipes = dict(live.view.captured), live.view.recipes
    most = max(captured, key=lambda name: captured[name])
    with ui.element("div").classes("form"):
        domain = choice("domain", _named(captured), most).props("data-testid=domain")
        live.follow(lambda view: view.captured, lambda now: domain.set_options(_named(dict(now)), value=domain.value))
        recipe = choice("recipe", recipes, recipes[0])
        minutes = ui.number("minutes (the recipe's own if empty)", min=0.1, max=MOST_MINUTES)
        minutes.props("outlined dense").classes("choice")
        force = ui.checkbox("whatever the gate says")
        why = ui.input("why").props("outlined dense maxlength=500").classes("choice")
        why.bind_visibility_from(force, "value")

        async def start() -> None:
            if force.value and not why.value.strip():
                why.props("error").props('error-message="Say why: the audit keeps it"')
                return
            try:
                asked = Asked(
                    domain=domain.value, recipe=recipe.value, minutes=minutes.value or None, force=bool(force.value)
                )
            except ValidationError as error:
                refused(error)
                return
            order = partial(backstage.learner.operations.start_round, asked, by=visitor.name, why=why.value.strip())
            state = await given(backstage, visitor, order, f"a round in {asked.domain} is queued")
            if state is not None:
                ui.navigate.to(f"/rounds/{state.id}")

        ui.button("Start the round", on_click=start).props("unelevated no-caps")


def _named(captured: dict[str, int]) -> dict[str, str]:
    return {
        name: f"{name}: {frames:,} captured frames{'' if frames >= FEWEST_FRAMES else ', too few'}"
        for name, frames in captured.items()
    }


def _line(line: RoundLine) -> None:
    with ui.element("a").classes("line").props(f'href="/rounds/{line.id}"'):
        with ui.element("div").classes("between"):
            ui.label(line.domain).classes("strong")
            phase_badge(line.phase)
        by = line.requested_by if line.trigger == "operator" else f"its {line.trigger} trigger"
        made = f", made release {line.version}" if line.version else ""
        ui.label(f"{clock(line.created_at)}, {line.recipe}, asked for by {by}{made}").classes("soft")
        if line.reason:
            ui.label(line.reason).classes("small")
