"""A frame with what lies over it: labels of one version or of two, and where the version was not sure.

How much of each is seen is told by CSS variables alone, which sliders set without a word to the server.
"""

from html import escape
from urllib.parse import urlencode

from nicegui import ui

from adaptation.console.views.frames import FrameCard


def address(what: str, card: FrameCard, **more: object) -> str:
    """Of a picture, or of a frame's own page."""
    asked = {"shard": card.shard, "key": card.key} | {name: value for name, value in more.items() if value is not None}
    return f"/{what}?{urlencode(asked)}"


def layers(
    frame: str, labels: str, doubt: str | None, described: str, *, other: str | None = None, lazy: bool = False
) -> str:
    """HTML of images over each other; `other` are labels that are shown right of the split."""
    loading = ' loading="lazy"' if lazy else ""

    def image(kind: str, source: str, text: str) -> str:
        return f'<img class="{kind}" src="{escape(source, quote=True)}" alt="{escape(text, quote=True)}"{loading}>'

    shown = [image("frame", frame, described), image("labels", labels, "")]
    shown += [image("labels other", other, "")] if other is not None else []
    shown += [image("doubt", doubt, "")] if doubt is not None else []
    split = '<i class="split"></i>' if other is not None else ""
    return f'<div class="layers{" compared" if other is not None else ""}">{"".join(shown)}{split}</div>'


def layer_sliders(*, compared: bool = False) -> ui.html:
    """For all layers below the same `.sees` element."""
    sliders = [("labels", "labels", 60), ("doubt", "unsure", 0)]
    sliders += [("split", "left, right", 50)] if compared else []
    inputs = "".join(
        f'<label class="{name}s">{text}<input type="range" min="0" max="100" value="{value}" data-sets="{name}"'
        f" oninput=\"this.closest('.sees').style.setProperty('--{name}', this.value / 100)\"></label>"
        for name, text, value in sliders
    )
    return ui.html(f'<div class="sliders">{inputs}</div>', sanitize=False)
