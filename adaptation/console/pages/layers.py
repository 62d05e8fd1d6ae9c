"""A frame with what lies over it: labels of one version or of two, and where the version was not sure.

How much of each is seen is told by CSS variables alone, which sliders set without a word to the server.
"""

from collections.abc import Mapping

from nicegui import ui

from adaptation.console.pages.elements import local_address, markup
from adaptation.console.views.frames import FrameCard
from exchange.markup import Html, tag


def address(what: str, card: FrameCard, **more: object) -> str:
    """Of a picture, or of a frame's own page."""
    return local_address(f"/{what}", shard=card.shard, key=card.key, **more)


def layers(
    frame: str, labels: str, doubt: str | None, described: str, *, other: str | None = None, lazy: bool = False
) -> Html:
    """HTML of images over each other; `other` are labels that are shown right of the split."""
    loading = {"loading": "lazy"} if lazy else {}

    def image(kind: str, source: str, text: str) -> Html:
        return tag("img", {"class": kind, "src": source, "alt": text, **loading})

    shown = [image("frame", frame, described), image("labels", labels, "")]
    shown += [image("labels other", other, "")] if other is not None else []
    shown += [image("doubt", doubt, "")] if doubt is not None else []
    shown += [tag("i", {"class": "split"})] if other is not None else []
    return tag("div", {"class": "layers compared" if other is not None else "layers"}, *shown)


def layer_sliders(*, compared: bool = False) -> ui.html:
    """For all layers below the same `.sees` element."""
    sliders = [("labels", "labels", 60), ("doubt", "unsure", 0)]
    sliders += [("split", "left, right", 50)] if compared else []
    inputs = (tag("label", {"class": f"{name}s"}, text, slider(name, value)) for name, text, value in sliders)
    return markup(tag("div", {"class": "sliders"}, *inputs))


def slider(sets: str, value: int, more: Mapping[str, str] | None = None) -> Html:
    """An input that sets a CSS variable of the `.sees` element around it (`page.js`)."""
    given = {"type": "range", "min": "0", "max": "100", "value": str(value), "data-sets": sets}
    return tag("input", {**given, **(more or {})})
