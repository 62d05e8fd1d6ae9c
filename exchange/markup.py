"""HTML that is made of parts: whatever is no markup of its own is escaped, wherever it came from."""

import re
from collections.abc import Mapping
from html import escape

HERE = re.compile(r"/(?![/\\])")
"""How an address of this server begins."""
_BESIDE = re.compile(r"\.{1,2}/")

_WITHOUT_END = frozenset({"img", "input", "meta"})
_BY_SCRIPT = ("on", "srcdoc")
"""How attributes begin that would be read as more than a text."""
_STYLE = re.compile(r"(?!.*url)[\w #%.,():;-]*")


class Html(str):
    """Markup that `tag` made."""

    __slots__ = ()


def tag(name: str, attributes: Mapping[str, str] | None = None, *inside: str) -> Html:
    """Return one element; the texts in it and the values of its attributes are escaped, `Html` in it is kept.

    Raises:
        ValueError: an attribute holds script, a style that asks for something, or an address that is neither of this
            server nor an image.
    """
    shown = "".join(f" {key}{_value(key, text)}" for key, text in (attributes or {}).items())
    content = "".join(part if isinstance(part, Html) else escape(part) for part in inside)
    return Html(f"<{name}{shown}>" if name in _WITHOUT_END else f"<{name}{shown}>{content}</{name}>")


def is_style(text: str) -> bool:
    """Whether it is made of numbers, names and colours alone."""
    return _STYLE.fullmatch(text) is not None


def _value(key: str, text: str) -> str:
    if key.startswith(_BY_SCRIPT):
        raise ValueError(f"the attribute {key} is no plain text: add a listener instead")
    if key == "style" and not is_style(text):
        raise ValueError(f"{text[:64]!r} is no style of numbers, names and colours")
    if key in ("href", "src") and not (HERE.match(text) or _BESIDE.match(text) or text.startswith("data:image/")):
        raise ValueError(f"{text[:64]!r} is no address of this server: begin it with /")
    return f'="{escape(text, quote=True)}"' if text else ""
