"""One captured frame: its labels beside those of another version, which the learner computes when asked."""

from functools import partial

from fastapi import Request
from nicegui import ui

from adaptation.console.backstage import Backstage
from adaptation.console.pages.charts import class_color
from adaptation.console.pages.elements import local_address, markup, show_markup, styled
from adaptation.console.pages.layers import address, layer_sliders, layers
from adaptation.console.pages.orders import REFUSALS, in_one_line
from adaptation.console.pages.shell import PATIENCE_S, choice, heading, not_there, nothing, page, second_heading
from adaptation.console.pages.words import clock, percent
from adaptation.console.relabelling import CannotLabel
from adaptation.console.views.frames import FrameCard, card_of
from adaptation.control.releases.listing import list_releases
from exchange.fleet.frames import CapturedFrame
from exchange.label_space import CLASS_NAMES
from exchange.markup import Html
from exchange.storage import StorageError
from exchange.storage.records import RecordError

_WIDTH_PX = 1280


def add_frame_page(backstage: Backstage) -> None:
    @ui.page("/frame", response_timeout=PATIENCE_S)
    async def frame(request: Request, shard: str, key: str) -> None:
        with page(request, "/frames", "Frame"):
            try:
                found = await backstage.read(partial(backstage.shelf.frame, shard, key))
                stored = [
                    row.version for row in await backstage.read(partial(list_releases, backstage.root)) if row.stored
                ]
            except (RecordError, StorageError) as error:
                not_there(503, "This frame cannot be read just now.", in_one_line(error))
                return
            if found is None:
                not_there(404, "This frame is gone.", "It was too old, or its vehicle was erased. Go back to Frames.")
                return
            why = await backstage.paint(partial(backstage.learner.left_out.why, shard, found))
            card = card_of(shard, found.metadata, why)
            heading(f"Frame of {clock(card.captured_at)}", f"{found.metadata.domain}, vehicle {card.vehicle[:12]}")
            await _neighbours(backstage, found.metadata.domain, card)
            if card.unreadable:
                nothing("This frame cannot be read and is left out.", card.unreadable)
            else:
                with ui.element("div").classes("sees one-frame"):
                    _compare(backstage, found, card, stored)
            _facts(card)


async def _neighbours(backstage: Backstage, domain: str, card: FrameCard) -> None:
    seen = await backstage.frames(domain).now()
    cards = list(seen.view.frames) if seen.view is not None else []
    place = next((index for index, each in enumerate(cards) if (each.shard, each.key) == (card.shard, card.key)), None)
    with ui.element("div").classes("buttons"):
        ui.link("all frames", local_address("/frames", domain=domain))
        if place is not None and place > 0:
            ui.link("newer", address("frame", cards[place - 1])).props('data-key=ArrowLeft title="key ←"')
        if place is not None and place + 1 < len(cards):
            ui.link("older", address("frame", cards[place + 1])).props('data-key=ArrowRight title="key →"')


def _compare(backstage: Backstage, frame: CapturedFrame, card: FrameCard, stored: list[int]) -> None:
    def show(version: int | None) -> Html:
        return layers(
            address("picture/frame", card, width=_WIDTH_PX),
            address("picture/labels", card, width=_WIDTH_PX),
            address("picture/doubt", card, width=_WIDTH_PX),
            "the frame with its labels",
            other=None if version is None else address("picture/labels", card, width=_WIDTH_PX, version=version),
        )

    async def compare(version: int) -> None:
        if not version:
            show_markup(picture, show(None))
            said.set_text("")
            return
        said.set_text(f"version {version} labels this frame on the learner's machine, when nobody else needs it…")
        try:
            await backstage.paint(partial(backstage.relabelling.labels_png, card.shard, frame, version))
        except (CannotLabel, OSError, *REFUSALS) as error:
            said.set_text(in_one_line(error))
            return
        said.set_text(f"left: version {card.version}, as it answered; right: version {version}, with today's prior")
        show_markup(picture, show(version))

    with ui.element("div").classes("controls"):
        versions = {0: "nothing else"} | {version: f"version {version}" for version in stored}
        choice("compare with", versions, 0).on_value_change(lambda event: compare(event.value))
        layer_sliders(compared=True)
    said = ui.label().classes("soft").props("role=status")
    picture = markup(show(None))


def _facts(card: FrameCard) -> None:
    second_heading("What it shows")
    answer = f"version {card.version}, prior {card.prior_id}, confidence {percent(card.confidence, 1)}"
    kept = "by chance" if card.kept_for == "uniform" else f"for {card.kept_for}"
    ui.label(f"{answer}, kept {kept}").classes("soft")
    with ui.element("div").classes("bars"):
        for train_id, share in card.classes:
            with ui.element("div").classes("bar"):
                ui.label(CLASS_NAMES[train_id])
                bar = {"background": class_color(train_id), "width": f"{max(100 * share, 0.5):.1f}%"}
                styled(ui.element("i"), bar)
                ui.label(percent(share, 1)).classes("soft")
