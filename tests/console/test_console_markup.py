"""Texts from elsewhere reach attributes, styles, markup and scripts in one way alone."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from nicegui import ui

from adaptation.console.pages.elements import attributed, local_address, styled
from exchange.markup import Html, tag

ROOT = Path(__file__).parents[2]
SAFE_WAYS = {ROOT / "adaptation" / "console" / "pages" / "elements.py", ROOT / "exchange" / "markup.py"}
SOURCES = sorted(
    {*(ROOT / "adaptation" / "console").rglob("*.py"), ROOT / "adaptation" / "learning" / "rounds" / "report_page.py"}
    - SAFE_WAYS
)
LITERALS_ALONE = frozenset(
    {
        *("Html", "add_body_html", "add_css", "add_head_html", "add_sass", "add_scss", "add_slot", "html", "markdown"),
        *("mermaid", "props", "restructured_text", "run_javascript", "set_content", "style"),
    }
)
"""Calls that read a text as a language of their own, in which a quote ends it."""
NEVER = frozenset({"js_handler", "sanitize"})


def offences(source: str) -> Iterator[tuple[int, str]]:
    """Lines where a text that is no literal is read as a language, and what reads it."""
    tree = ast.parse(source)
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            given = [*node.args, *(each.value for each in node.keywords)]
            if name in LITERALS_ALONE and not all(isinstance(each, ast.Constant) for each in given):
                yield node.lineno, name
            for each in node.keywords:
                if each.arg in NEVER:
                    yield node.lineno, each.arg
        elif isinstance(node, ast.Attribute) and node.attr.lstrip("_") in ("props", "style") and id(node) not in called:
            yield node.lineno, node.attr
        elif isinstance(node, ast.JoinedStr):
            literal = "".join(str(each.value) for each in node.values if isinstance(each, ast.Constant))
            if "<" in literal:
                yield node.lineno, "markup"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_pages_give_texts_to_the_safe_ways_alone(path: Path) -> None:
    assert list(offences(path.read_text())) == []


@pytest.mark.parametrize(
    "source",
    [
        "ui.label().props(f'title={name}')",
        "ui.label().props('title=' + name)",
        "ui.label().props(add=name)",
        "ui.label().props[name] = name",
        "ui.label()._props.update(title=name)",
        "ui.label().style(f'width: {name}')",
        "ui.html(name)",
        "ui.html('<b></b>', sanitize=False)",
        "ui.add_head_html(name)",
        "ui.run_javascript(f'say({name})')",
        "ui.button().on('click', js_handler='() => 1')",
        "Html(name)",
        "answer = f'<p>{name}</p>'",
    ],
)
def test_an_unsafe_way_is_found(source: str) -> None:
    assert list(offences(source))


def test_markup_escapes_all_that_is_none() -> None:
    hostile = "'\"><img src=x onerror=alert(1)>"
    shown = tag("p", {"title": hostile}, hostile, tag("b", None, "kept"), Html("<i></i>"))
    escaped = "&#x27;&quot;&gt;&lt;img src=x onerror=alert(1)&gt;"
    assert shown == f'<p title="{escaped}">{escaped}<b>kept</b><i></i></p>'


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("onclick", "1"),
        ("srcdoc", "<b>"),
        ("href", "javascript:alert(1)"),
        ("href", "//elsewhere.example"),
        ("href", "/\\elsewhere.example"),
        ("src", "https://elsewhere.example/x.png"),
        ("src", "data:text/html,x"),
        ("style", "background:url(/x)"),
        ("style", "width:1px;content:'x'"),
    ],
)
def test_markup_takes_no_script_and_no_other_address(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="is no "):
        tag("a", {name: value})


def test_elements_take_plain_attributes_and_plain_styles() -> None:
    with ui.element("div") as element:
        attributed(element, {"title": "a' innerHTML='b", "href": "/x"})
        styled(element, {"width": "10%"})
        assert (element.props["title"], "innerHTML" in element.props) == ("a' innerHTML='b", False)
        for name, value in ((":title", "alert(1)"), ("innerHTML", "x"), ("onclick", "x"), ("href", "javascript:x")):
            with pytest.raises(ValueError, match=r"is (no|not) "):
                attributed(element, {name: value})
        for value in ("1px; color: red", "url(/x)", "'x'"):
            with pytest.raises(ValueError, match="is no value of a style"):
                styled(element, {"width": value})


def test_addresses_keep_a_text_within_its_value() -> None:
    assert local_address("/frames", domain="a&b=c#d", most=None) == "/frames?domain=a%26b%3Dc%23d"
