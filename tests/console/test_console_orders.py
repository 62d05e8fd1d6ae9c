"""Orders pass one place for each role, which asks who gives them when they come and not when the page was made."""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from nicegui import Client, ui

import adaptation.console.pages as pages
from adaptation.console.backstage import Backstage
from adaptation.console.pages.orders import given, labelled
from adaptation.console.sessions import Visitor
from adaptation.control.labeling.leased_tasks import LabelError
from exchange.net.callers import Role

T = TypeVar("T")
PAGES = Path(pages.__file__).parent
MAY_OPERATE = {Role.OPERATOR: True, Role.ANNOTATOR: False, Role.VIEWER: False, Role.VEHICLE: False}
MAY_LABEL = MAY_OPERATE | {Role.ANNOTATOR: True}


class Recorder(Backstage):
    """Gives orders at once, beside no learner."""

    def __init__(self) -> None:
        self.given: list[object] = []

    async def give(self, order: Callable[[], T]) -> T:
        result = order()
        self.given.append(result)
        return result


def visitors() -> list[tuple[Role | None, Visitor]]:
    held = [(role, Visitor("eve", frozenset({role}))) for role in MAY_OPERATE]
    return [*held, (None, Visitor("eve", frozenset()))]


@pytest.mark.parametrize(("role", "visitor"), visitors())
@pytest.mark.parametrize("is_let_in", [True, False])
async def test_operators_alone_give_orders(role: Role | None, visitor: Visitor, is_let_in: bool) -> None:
    backstage, may = Recorder(), is_let_in and role is not None and MAY_OPERATE[role]
    asked = Visitor(visitor.name, visitor.roles, is_still_let_in=lambda: is_let_in)
    with Client(ui.page("/orders"), request=None):
        result = await given(backstage, asked, lambda by: f"done by {by}", "done")
    assert (result, backstage.given) == (("done by eve", ["done by eve"]) if may else (None, []))


@pytest.mark.parametrize(("role", "visitor"), visitors())
@pytest.mark.parametrize("is_let_in", [True, False])
async def test_annotators_and_operators_label(role: Role | None, visitor: Visitor, is_let_in: bool) -> None:
    backstage = Recorder()
    asked = Visitor(visitor.name, visitor.roles, is_still_let_in=lambda: is_let_in)
    if is_let_in and role is not None and MAY_LABEL[role]:
        assert await labelled(backstage, asked, lambda: 7) == 7
    else:
        with pytest.raises(LabelError, match="needs the role annotator"):
            await labelled(backstage, asked, lambda: 7)
        assert backstage.given == []


def test_no_page_gives_an_order_past_the_two_places() -> None:
    found = set()
    for path in PAGES.glob("*.py"):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                calls = [node.func for node in ast.walk(function) if isinstance(node, ast.Call)]
                if any(isinstance(call, ast.Attribute) and call.attr == "give" for call in calls):
                    found.add((path.stem, function.name))
    assert found == {("orders", "given"), ("orders", "labelled")}


def test_labels_are_those_of_a_proven_name() -> None:
    shown = Visitor("eve", frozenset({Role.ANNOTATOR}), shown="annotator-3fa9c1")
    assert shown.annotator == "eve"
    assert (
        Visitor("eve", frozenset({Role.ANNOTATOR}), shown="ann.example", proven="ann.example").annotator
        == "ann.example"
    )
