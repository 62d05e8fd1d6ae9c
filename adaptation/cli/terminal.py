"""What commands say to the person who runs them: errors in one line, and progress."""

from typing import NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_console = Console(stderr=True)


def fail(message: str) -> NoReturn:
    """Ends the command with exit code 1."""
    _console.print(f"[red]error:[/red] {escape(message)}", highlight=False, soft_wrap=True)
    raise typer.Exit(1)


def say(message: str, end: str = "\n") -> None:
    _console.print(escape(message), highlight=False, soft_wrap=True, end=end)


def progress_bars(hidden: bool = False) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=_console,
        disable=hidden,
    )
