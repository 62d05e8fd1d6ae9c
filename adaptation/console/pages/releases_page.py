"""Releases: what is served where, and where each release came from."""

from collections.abc import Callable
from functools import partial

from fastapi import Request
from nicegui import ui

from adaptation.console.backstage import Backstage
from adaptation.console.live import Live
from adaptation.console.pages.elements import attributed, styled
from adaptation.console.pages.orders import REFUSALS, agreed, given, refused, until_closed
from adaptation.console.pages.shell import choice, heading, nothing, page, second_heading, show_live
from adaptation.console.pages.words import clock
from adaptation.console.sessions import Visitor
from adaptation.console.views.releases import (
    ReleaseNode,
    ReleasesView,
    ServedDomain,
    effect_of_promotion,
    effect_of_reset,
    effect_of_rollback,
)
from adaptation.control.releases.deciding import Order
from exchange.plan.plan_changes import DEFAULT
from exchange.plan.serving_plan import ServingPlan, read_plan

_DEEPEST = 8
"""That is still shown by its indentation."""


def add_releases_page(backstage: Backstage) -> None:
    @ui.page("/releases")
    async def releases(request: Request) -> None:
        with page(request, "/releases", "Releases") as visitor:
            heading("Releases", "each below the one that it was learned from")
            await show_live(backstage.releases(), lambda live: _Releases(backstage, visitor, live).render())


class _Releases:
    """For one visitor's page."""

    def __init__(self, backstage: Backstage, visitor: Visitor, live: Live[ReleasesView]) -> None:
        self._backstage = backstage
        self._visitor = visitor
        self._live = live

    def render(self) -> None:
        second_heading("Served")
        self._live.rows(lambda view: view.domains, lambda domain: domain.name, self._domain, "lines")
        second_heading("Lineage")
        self._live.part(lambda view: not view.releases, lambda none, _: _say_none(none))
        self._live.part(lambda view: view.pins_are_unknown, lambda unknown, _: _say_unknown_pins(unknown))
        self._live.rows(lambda view: view.releases, lambda node: node.version, self._release, "lines tree")

    def _domain(self, domain: ServedDomain) -> None:
        with ui.element("div").classes("line between wrap"):
            with ui.element("div"):
                ui.label(domain.name).classes("strong")
                back = domain.not_back or f"rolls back to version {domain.previous}"
                reset = domain.not_reset or f"its anchor is version {domain.anchor}"
                ui.label(f"version {domain.serving}; {back}; {reset}").classes("soft")
            if self._visitor.may_operate:
                with ui.element("div").classes("buttons"):
                    _button("Roll back…", partial(self._roll_back, domain), f"roll back {domain.name}", domain.not_back)
                    _button("Reset…", partial(self._reset, domain), f"reset {domain.name}", domain.not_reset)

    def _release(self, node: ReleaseNode) -> None:
        depth = min(node.depth, _DEEPEST)
        with styled(ui.element("details").classes("line child" if depth else "line"), {"--depth": str(depth)}):
            with ui.element("summary"):
                with ui.element("div").classes("between wrap"):
                    ui.label(f"version {node.version}").classes("strong")
                    with ui.element("div").classes("chips"):
                        for role in node.roles:
                            badge = ui.label(role.text).classes("badge good" if role.serves else "badge")
                            attributed(badge, {"title": role.meaning})
                        if node.pinned:
                            ui.label("pinned").classes("badge quiet")
                        if not node.stored:
                            ui.label("collected").classes("badge quiet")
                origin = f"{node.origin}{f', {node.recipe}' if node.recipe not in ('', node.origin) else ''}"
                ui.label(f"{clock(node.published_at)}, {origin}, by {node.published_by}").classes("soft")
            with ui.element("dl").classes("facts"):
                for name, value in node.facts:
                    with ui.element("dt"):
                        ui.label(name)
                    with ui.element("dd"):
                        ui.label(value)
            with ui.element("div").classes("buttons"):
                if node.round_id:
                    ui.link("its round", f"/rounds/{node.round_id}")
                if self._visitor.may_operate and node.stored:
                    _button("Promote…", partial(self._promote, node), f"promote version {node.version}")
                    if node.pinned is not None:
                        pin = "Unpin" if node.pinned else "Pin"
                        _button(f"{pin}…", partial(self._pin, node), f"{pin.lower()} version {node.version}")

    async def _roll_back(self, domain: ServedDomain) -> None:
        await self._serve_otherwise(
            f"Roll {domain.name} back?",
            lambda plan: effect_of_rollback(plan, domain.name, self._live.view.gateways),
            "Roll back",
            domain.name,
            self._backstage.learner.operations.roll_back,
            f"{domain.name} is rolled back",
        )

    async def _reset(self, domain: ServedDomain) -> None:
        await self._serve_otherwise(
            f"Reset {domain.name} to its anchor?",
            lambda plan: effect_of_reset(plan, domain.name, domain.anchor, self._live.view.gateways),
            "Reset",
            domain.name,
            self._backstage.learner.operations.reset,
            f"{domain.name} is served with its anchor",
        )

    async def _promote(self, node: ReleaseNode) -> None:
        chosen = await _where(node, [domain.name for domain in self._live.view.domains])
        if chosen is None:
            return
        domain, force = chosen
        await self._serve_otherwise(
            f"Promote version {node.version}?",
            lambda plan: effect_of_promotion(plan, node.version, domain, self._live.view.gateways, force=force),
            "Serve it at once" if force else "Let gateways try it",
            domain,
            partial(self._backstage.learner.operations.promote, node.version, force=force),
            f"version {node.version} is {'served' if force else 'a candidate'} in {domain}",
            needs_why=force,
        )

    async def _pin(self, node: ReleaseNode) -> None:
        pinned = not node.pinned
        effect = (
            f"version {node.version} is {'never collected' if pinned else 'collected once nothing needs it any more'}"
        )
        if await agreed("Pin it?" if pinned else "Unpin it?", effect, "Pin" if pinned else "Unpin") is not None:
            pin = partial(self._backstage.learner.operations.pin, node.version, pinned=pinned)
            await given(self._backstage, self._visitor, lambda by: pin(by=by), effect)

    async def _serve_otherwise(
        self,
        title: str,
        effect_of: Callable[[ServingPlan | None], str],
        action: str,
        domain: str,
        order: Callable[[Order], object],
        done: str,
        *,
        needs_why: bool = False,
    ) -> None:
        """Says what would change of the plan as it is at this moment, and gives the order where that is wanted."""
        try:
            stored = await self._backstage.read(lambda: read_plan(self._backstage.root))
            effect = effect_of(None if stored is None else stored.plan)
        except REFUSALS as error:
            refused(error)
            return
        why = await agreed(title, effect, action, needs_why=needs_why)
        if why is not None:
            place = None if domain == DEFAULT else domain
            await given(self._backstage, self._visitor, lambda by: order(Order(by, place, why)), done)


async def _where(node: ReleaseNode, domains: list[str]) -> tuple[str, bool] | None:
    """Asks for the domain, and whether gateways are to try the release first."""
    with ui.dialog() as dialog, ui.card().classes("ask").props("role=dialog aria-label=where"):
        with ui.element("h2"):
            ui.label(f"Where is version {node.version} to serve?")
        domain = choice("domain", domains, domains[0])
        how = ui.radio(
            {False: "gateways try it first, and drop it if it fails", True: "serve it at once, untried"}, value=False
        )
        with ui.element("div").classes("buttons"):
            ui.button("Leave it as it is", on_click=lambda: dialog.submit(None)).props("flat no-caps")
            ui.button("Next", on_click=lambda: dialog.submit((domain.value, how.value))).props("unelevated no-caps")
    answer = await until_closed(dialog)
    return answer if isinstance(answer, tuple) else None


def _button(text: str, act: Callable[[], object], described: str, not_now: str = "") -> None:
    """`not_now` says why it cannot be pressed."""
    button = ui.button(text, on_click=act).props("outline dense no-caps").classes("small-button")
    attributed(button, {"aria-label": f"{described}: {not_now}" if not_now else described})
    button.set_enabled(not not_now)


def _say_none(none: bool) -> None:
    if none:
        nothing(
            "No release yet.", "The learner publishes the first one from --release; more: roadshift release add DIR"
        )


def _say_unknown_pins(unknown: bool) -> None:
    if unknown:
        told = "The pins cannot be read: which releases are pinned is unknown, and none is collected. See Now for why."
        ui.label(told).classes("warn-text").props("role=status")
