"""Now: what is served where, by whom, and how well."""

from collections.abc import Callable

from fastapi import Request
from nicegui import ui

from adaptation.console.backstage import Backstage
from adaptation.console.live import Live
from adaptation.console.pages.elements import attributed, local_address, markup
from adaptation.console.pages.shell import (
    EVERY_S,
    heading,
    nothing,
    page,
    second_heading,
    show_live,
    table_head,
    table_row,
)
from adaptation.console.pages.words import clock, gibibytes, lasted, milliseconds, percent, rate
from adaptation.console.views.now import DomainNow, GatewayNow, NowView, RunningNow, VersionNow
from adaptation.console.views.troubles import learner_troubles
from adaptation.control.learner.learner import Learner
from exchange.markup import tag

_SPARK_W, _SPARK_H = 240, 36


def add_now_page(backstage: Backstage) -> None:
    @ui.page("/")
    async def now(request: Request) -> None:
        with page(request, "/", "Now"):
            learner = backstage.learner
            heading(
                "Now", f"{learner.root.url}, lease epoch {learner.lease.epoch}, since {clock(learner.started_at)} UTC"
            )
            _follow_troubles(learner)
            await show_live(backstage.now(), _render)


def _render(live: Live[NowView]) -> None:
    live.part(lambda view: view.troubles, _troubles)
    live.part(lambda view: (view.running, view.queued), lambda value, _: _running(*value))
    second_heading("Domains")
    live.part(lambda view: tuple(domain.name for domain in view.domains), _domains, "cards")
    second_heading("Gateways")
    live.part(lambda view: tuple(gateway.name for gateway in view.gateways), _gateways, "cards")


def _follow_troubles(learner: Learner) -> None:
    """Apart from the view, which cannot be made while the root is away."""
    live = Live(learner_troubles(learner))
    live.part(lambda troubles: troubles, _troubles)
    ui.timer(EVERY_S, lambda: live.update(learner_troubles(learner)))


def _troubles(troubles: tuple[str, ...], _: object) -> None:
    for trouble in troubles:
        with ui.element("div").classes("trouble").props("role=alert"):
            ui.label(trouble)


def _running(running: RunningNow | None, queued: int) -> None:
    if running is None:
        return
    with ui.element("div").classes("strip"):
        ui.link(f"Round in {running.domain}", f"/rounds/{running.round_id}").classes("strong")
        ui.label(running.phase).classes("badge")
        if running.total:
            ui.label(f"{running.step}: {running.done} of {running.total}")
            ui.linear_progress(running.done / running.total, show_value=False, size="6px").classes("grow")
        ui.label(running.note).classes("soft")
        if queued:
            ui.label(f"{queued} more wait").classes("soft")


def _domains(names: tuple[str, ...], live: Live[NowView]) -> None:
    if not names:
        nothing("Nothing is served yet.", "The learner writes the first serving plan from --release when it starts.")
    for place, name in enumerate(names):
        with attributed(ui.element("section").classes("card"), {"aria-label": f"domain {name}"}):
            _domain(name, place, live)


def _domain(name: str, place: int, live: Live[NowView]) -> None:
    def mine(view: NowView) -> DomainNow:
        return view.domains[place]

    with ui.element("div").classes("between"):
        ui.label(name).classes("strong")
        live.part(lambda view: bool(mine(view).drift), lambda drifted, _: _drifted() if drifted else None)
    with ui.element("div").classes("between"):
        live.text(lambda view: f"version {mine(view).serving}", "big")
        live.text(lambda view: _before(mine(view)), "soft")
    live.text(lambda view: mine(view).candidate and f"tries {mine(view).candidate}", "accent")
    with ui.element("dl").classes("figures"):
        _figure("frames", live, lambda view: rate(mine(view).frames_per_s))
        _figure("p99", live, lambda view: milliseconds(mine(view).p99_s))
        _figure("confidence", live, lambda view: percent(mine(view).confidence, 1))
    live.text(lambda view: mine(view).drift, "warn-text small")
    live.text(lambda view: mine(view).not_known, "soft small")
    live.part(lambda view: mine(view).confidence_curve, lambda curve, _: _spark(curve))
    live.part(lambda view: (mine(view).prior, mine(view).frozen), lambda value, _: _prior(name, *value))


def _before(domain: DomainNow) -> str:
    if domain.follows_default:
        return "follows the default"
    return "" if domain.previous is None else f"rolls back to version {domain.previous}"


def _figure(name: str, live: Live[NowView], get: Callable[[NowView], str]) -> None:
    with ui.element("div"):
        with ui.element("dt"):
            ui.label(name)
        with ui.element("dd"):
            live.text(get)


def _drifted() -> None:
    ui.label("drifted").classes("badge warn")


def _spark(curve: tuple[float | None, ...]) -> None:
    """The confidence of the last half hour, between the lowest and the highest of it."""
    known = [value for value in curve if value is not None]
    if len(known) < 2:
        return
    low, high = min(known), max(known)
    step, span = _SPARK_W / (len(curve) - 1), max(high - low, 0.02)
    points = " ".join(
        f"{index * step:.1f},{_SPARK_H - 3 - (value - low) / span * (_SPARK_H - 6):.1f}"
        for index, value in enumerate(curve)
        if value is not None
    )
    described = f"confidence over the last half hour, from {percent(low, 1)} to {percent(high, 1)}"
    drawing = {
        "class": "spark",
        "viewBox": f"0 0 {_SPARK_W} {_SPARK_H}",
        "preserveAspectRatio": "none",
        "role": "img",
        "aria-label": described,
    }
    markup(tag("svg", drawing, tag("title", None, described), tag("polyline", {"points": points})))


def _prior(domain: str, moved: tuple[tuple[str, float], ...], frozen: bool) -> None:
    with ui.element("div").classes("chips"):
        ui.link("prior", local_address("/prior", domain=domain)).classes("soft")
        if frozen:
            ui.label("frozen").classes("badge quiet")
        for name, ratio in moved:
            ui.label(f"{name} {ratio:+.2f}").classes("chip")
        if not moved:
            ui.label("as the release has it").classes("soft")


def _gateways(names: tuple[str, ...], live: Live[NowView]) -> None:
    if not names:
        nothing(
            "No gateway yet.",
            "Start one on any machine that reaches the root: roadshift serve --root URL --domain NAME",
        )
    for place, name in enumerate(names):
        with attributed(ui.element("section").classes("card"), {"aria-label": f"gateway {name}"}):
            _gateway(name, place, live)


def _gateway(name: str, place: int, live: Live[NowView]) -> None:
    def mine(view: NowView) -> GatewayNow:
        return view.gateways[place]

    with ui.element("div").classes("between"):
        ui.label(name).classes("strong")
        live.part(lambda view: (mine(view).alive, mine(view).silent_s), lambda value, _: _health(*value))
    live.text(lambda view: _revision(mine(view)), "soft")
    with ui.element("dl").classes("figures"):
        _figure("frames", live, lambda view: rate(mine(view).frames_per_s))
        _figure("engine busy", live, lambda view: percent(mine(view).busy_share))
        _figure("disk free", live, lambda view: gibibytes(mine(view).free_bytes))
    live.text(
        lambda view: f"{mine(view).dropped} frames left no row or were not looked at" if mine(view).dropped else "",
        "warn-text small",
    )
    live.part(lambda view: mine(view).versions, lambda versions, _: _versions(versions), "scroll")


def _health(alive: bool, silent_s: int) -> None:
    if alive:
        ui.label("alive").classes("badge good")
    else:
        ui.label(f"silent for {lasted(silent_s)}").classes("badge bad")


def _revision(gateway: GatewayNow) -> str:
    return f"plan revision {gateway.revision}{'' if gateway.is_current else ', the newest not yet applied'}"


def _versions(versions: tuple[VersionNow, ...]) -> None:
    with ui.element("table"):
        table_head("version", "", "frames", "errors", "p50", "p99")
        with ui.element("tbody"):
            for each in versions:
                state = "" if each.loaded else "not loaded"
                times = milliseconds(each.p50_s), milliseconds(each.p99_s)
                table_row(str(each.version), each.trouble or state, f"{each.requests:,}", f"{each.errors:,}", *times)
