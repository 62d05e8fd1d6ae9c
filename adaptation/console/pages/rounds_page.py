"""Rounds: a form that starts one, and those that there were."""

from functools import partial

from fastapi import Request
from nicegui import ui
from pydantic import ValidationError

from adaptation.console.backstage import Backstage
from adaptation.console.live import Live
from adaptation.console.pages.elements import attributed
from adaptation.console.pages.orders import agreed, given, refused
from adaptation.console.pages.shell import choice, heading, nothing, page, second_heading, show_live
from adaptation.console.pages.words import clock
from adaptation.console.sessions import Visitor
from adaptation.console.views.rounds import RoundLine, RoundsView, effect_of_start
from adaptation.control.rounds.round_runner import FEWEST_FRAMES
from adaptation.control.rounds.round_state import Phase
from adaptation.control.rounds.round_state import Request as Asked

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
    live.part(lambda view: not view.rounds, lambda none, _: _say_none(visitor) if none else None)
    live.rows(lambda view: view.rounds, lambda line: line.id, _line, "lines")


def _say_none(visitor: Visitor) -> None:
    first = "Start one above" if visitor.may_operate else "An operator starts one here"
    nothing("No round yet.", f"{first}, or lets drift start them: roadshift trigger set --domain NAME --drift")


def _form(backstage: Backstage, visitor: Visitor, live: Live[RoundsView]) -> None:
    captured, recipes = dict(live.view.captured), live.view.recipes
    most = max(captured, key=lambda name: captured[name])
    with ui.element("div").classes("form"):
        domain = choice("domain", _named(captured), most).props("data-testid=domain")
        live.follow(lambda view: view.captured, lambda now: domain.set_options(_named(dict(now)), value=domain.value))
        recipe = choice("recipe", recipes, recipes[0])
        # Text: a browser's number field gives out nothing for what is no number, as if the recipe's own were wanted.
        minutes = ui.input("minutes", placeholder="the recipe's own").classes("choice")
        minutes.props("outlined dense stack-label inputmode=decimal maxlength=32")
        force = ui.checkbox("whatever the gate says")

        async def ask() -> None:
            try:
                asked = Asked.model_validate(
                    {
                        "domain": domain.value,
                        "recipe": recipe.value,
                        "minutes": minutes.value.strip() or None,
                        "force": force.value,
                    }
                )
            except ValidationError as error:
                refused(error)
                return
            effect = effect_of_start(live.view, asked)
            why = await agreed(f"Start a round in {asked.domain}?", effect, "Start it", needs_why=asked.force)
            if why is None:
                return
            start = backstage.learner.operations.start_round
            done = f"a round in {asked.domain} is queued"
            state = await given(backstage, visitor, lambda by: start(asked, by=by, why=why), done)
            if state is not None:
                ui.navigate.to(f"/rounds/{state.id}")

        ui.button("Start the round…", on_click=ask).props("unelevated no-caps")


def _named(captured: dict[str, int]) -> dict[str, str]:
    return {
        name: f"{name}: {frames:,} captured frames{'' if frames >= FEWEST_FRAMES else ', too few'}"
        for name, frames in captured.items()
    }


def _line(line: RoundLine) -> None:
    with attributed(ui.element("a").classes("line"), {"href": f"/rounds/{line.id}"}):
        with ui.element("div").classes("between"):
            ui.label(line.domain).classes("strong")
            phase_badge(line.phase)
        by = line.requested_by if line.trigger == "operator" else f"its {line.trigger} trigger"
        made = f", made release {line.version}" if line.version else ""
        ui.label(f"{clock(line.created_at)}, {line.recipe}, asked for by {by}{made}").classes("soft")
        if line.reason:
            ui.label(line.reason).classes("small")
