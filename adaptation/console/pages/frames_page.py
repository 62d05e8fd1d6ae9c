"""Frames: what was captured of late, with what was answered."""

from functools import partial

from fastapi import Request
from nicegui import ui

from adaptation.console.backstage import Backstage
from adaptation.console.live import Live
from adaptation.console.pages.elements import attributed, local_address, markup
from adaptation.console.pages.layers import address, layer_sliders, layers
from adaptation.console.pages.shell import choice, heading, nothing, page, say_unknown_domain, show_live
from adaptation.console.pages.words import clock, percent
from adaptation.console.views.frames import MOST_FRAMES, FrameCard, FrameFilter, FramesView, class_choices
from exchange.label_space import CLASS_NAMES

_WIDTH_PX = 480
_ANY = -1
_MOST_REASONS = 5


def add_frames_page(backstage: Backstage) -> None:
    @ui.page("/frames")
    async def frames(request: Request, domain: str = "", train_id: int = _ANY, most: float = 1.0) -> None:
        with page(request, "/frames", "Frames"):
            heading("Frames", "captured of late, with the labels that were answered; the less sure, the pinker")
            chosen = FrameFilter(train_id if train_id in class_choices() else None, most)
            with ui.element("div").classes("sees"):
                await show_live(backstage.frames(domain), partial(_render, domain, chosen))


def _controls(domain: str, domains: tuple[str, ...], chosen: FrameFilter) -> None:
    if not domains:
        return

    def go(**changed: object) -> None:
        asked = {"domain": domain, "train_id": chosen.train_id, "most": chosen.most_confidence} | changed
        ui.navigate.to(local_address("/frames", **asked))

    with ui.element("div").classes("controls"):
        choice("domain", domains, domain).on_value_change(lambda event: go(domain=event.value))
        classes = {_ANY: "any class"} | class_choices()
        shown = _ANY if chosen.train_id is None else chosen.train_id
        choice("shows", classes, shown).on_value_change(lambda event: go(train_id=event.value))
        steps = {1.0: "any confidence"} | {
            value / 100: f"at most {value} %" for value in (98, 95, 90, 85, 80, 70, 60, 50)
        }
        most = chosen.most_confidence if chosen.most_confidence in steps else 1.0
        choice("confidence", steps, most).on_value_change(lambda event: go(most=event.value))
        layer_sliders()


def _render(asked: str, chosen: FrameFilter, live: Live[FramesView]) -> None:
    live.part(lambda view: view.domain, lambda shown, _: say_unknown_domain(asked, shown))

    def passing(view: FramesView) -> tuple[FrameCard, ...]:
        return tuple(card for card in view.frames if chosen.passes(card))

    live.part(lambda view: (view.domain, view.domains), lambda value, _: _controls(*value, chosen))
    live.part(lambda view: (view.stored, bool(passing(view))), lambda value, _: _say_how_many(*value))
    live.part(lambda view: view.left_out, lambda left_out, _: _say_left_out(left_out))
    live.rows(passing, lambda card: (card.shard, card.key), partial(_card, chosen.train_id), "frame-cards")


def _say_how_many(stored: int, any_passes: bool) -> None:
    if not stored:
        nothing(
            "No captured frames yet.",
            "Gateways with --root keep a share of what they serve, and bring it here within a minute or so.",
        )
    elif not any_passes:
        nothing(
            f"None of the newest {MOST_FRAMES} frames passes.", "Choose any class and any confidence to see them all."
        )
    else:
        ui.label(f"of the newest {min(stored, MOST_FRAMES)} of {stored:,} captured frames").classes("soft")


def _say_left_out(left_out: tuple[str, ...]) -> None:
    if left_out:
        ui.label(f"{len(left_out):,} cannot be read and are left out").classes("warn-text")
        for why in left_out[:_MOST_REASONS]:
            ui.label(why).classes("soft small")


def _card(only: int | None, card: FrameCard) -> None:
    with attributed(ui.element("a").classes("frame-card"), {"href": address("frame", card)}):
        described = f"frame of {clock(card.captured_at)}: {', '.join(CLASS_NAMES[k] for k, _ in card.classes[:4])}"
        if card.unreadable:
            ui.label(f"cannot be read: {card.unreadable}").classes("warn-text small")
        else:
            shown = layers(
                address("picture/frame", card, width=_WIDTH_PX),
                address("picture/labels", card, width=_WIDTH_PX, only=only),
                address("picture/doubt", card, width=_WIDTH_PX),
                described,
                lazy=True,
            )
            markup(shown)
        with ui.element("div").classes("between small"):
            ui.label(clock(card.captured_at))
            ui.label(f"version {card.version} · {percent(card.confidence, 1)}").classes("soft")
        if card.kept_for != "uniform":
            ui.label(f"kept for {card.kept_for}").classes("badge quiet")
