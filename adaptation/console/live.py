"""A page's parts that follow a view: each is made again only when what it shows has become something else."""

from collections.abc import Callable, Hashable, Iterable
from typing import Any, Generic, TypeVar

from nicegui import ui

View = TypeVar("View")
Value = TypeVar("Value")


class Live(Generic[View]):
    """What of a page changes with a view, in the order in which it was made."""

    def __init__(self, view: View) -> None:
        self.view = view
        self._followers: list[Callable[[View], None]] = []

    def update(self, view: View) -> None:
        self.view = view
        for follow in self._followers:
            follow(view)

    def follow(self, get: Callable[[View], Value], show: Callable[[Value], Any]) -> None:
        """Calls `show` now, and whenever the value is another."""
        last = get(self.view)
        show(last)

        def follow(view: View) -> None:
            nonlocal last
            if (value := get(view)) != last:
                last = value
                show(value)

        self._followers.append(follow)

    def text(self, get: Callable[[View], str], classes: str = "") -> ui.label:
        label = ui.label().classes(classes)
        self.follow(get, label.set_text)
        return label

    def part(
        self, get: Callable[[View], Value], render: Callable[[Value, "Live[View]"], Any], classes: str = ""
    ) -> ui.element:
        """A part that is made anew where the value is another; what it makes may follow the same views by itself."""
        box = ui.element("div").classes(classes)
        inside: Live[View] = Live(self.view)

        def show(value: Value) -> None:
            nonlocal inside
            box.clear()
            inside = Live(self.view)
            with box:
                render(value, inside)

        self.follow(get, show)
        self._followers.append(lambda view: inside.update(view))
        return box

    def rows(
        self,
        get: Callable[[View], Iterable[Value]],
        key: Callable[[Value], Hashable],
        render: Callable[[Value], Any],
        classes: str = "",
    ) -> ui.element:
        """One element for each value, in their order; those whose value stays are left alone, and only moved."""
        box = ui.element("div").classes(classes)
        known: dict[Hashable, tuple[Value, ui.element]] = {}

        def show(values: tuple[Value, ...]) -> None:
            wanted = {key(value): value for value in values}
            for name in [name for name in known if wanted.get(name) != known[name][0]]:
                known.pop(name)[1].delete()
            for index, (name, value) in enumerate(wanted.items()):
                if name not in known:
                    with box, ui.element("div") as element:
                        render(value)
                    known[name] = (value, element)
                if box.default_slot.children[index] is not known[name][1]:
                    known[name][1].move(target_index=index)

        self.follow(lambda view: tuple(get(view)), show)
        return box
