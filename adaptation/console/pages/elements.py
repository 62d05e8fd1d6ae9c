"""Texts from elsewhere in elements' attributes, styles and markup: the one place where pages put them there.

NiceGUI reads `props("...")` and `style("...")` as a language of their own, in which a quote in a text begins the next
attribute; pages give those calls literals alone, and everything else to these functions.
"""

import re
from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import urlencode

from nicegui import ui

from exchange.markup import HERE, Html, is_style

Element = TypeVar("Element", bound=ui.element)
_ATTRIBUTE = re.compile(r"aria-[a-z]+|action|data-[a-z]+|href|id|name|title|value")


def attributed(element: Element, values: Mapping[str, str]) -> Element:
    """Set attributes of an element, whatever letters their values have.

    Raises:
        ValueError: an attribute that could be read as script, or an address beyond this server.
    """
    for name, value in values.items():
        if not _ATTRIBUTE.fullmatch(name):
            raise ValueError(f"{name} is not among the attributes that hold a plain text")
        if name in ("action", "href") and not HERE.match(value):
            raise ValueError(f"{value[:64]!r} is no address of this server: begin it with /")
        element.props[name] = value
    return element


def styled(element: Element, values: Mapping[str, str]) -> Element:
    """Set styles of an element. Raises ValueError where a value is more than numbers, names and colours."""
    for name, value in values.items():
        if ";" in value or not is_style(value):
            raise ValueError(f"{value[:64]!r} is no value of a style")
        element.style[name] = value
    return element


def markup(content: Html) -> ui.html:
    """Show HTML that `tag` made, as it is."""
    return ui.html(content, sanitize=False)


def show_markup(element: ui.html, content: Html) -> None:
    """Show other HTML in the place of what `markup` shows."""
    element.set_content(content)


def local_address(path: str, **asked: object) -> str:
    """Return a path of this server with a query of what is not None."""
    known = {name: value for name, value in asked.items() if value is not None}
    return f"{path}?{urlencode(known)}" if known else path
