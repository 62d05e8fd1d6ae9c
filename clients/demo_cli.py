"""`roadshift demo`: the whole story, or its short form."""

import fcntl
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from clients.client import RequestFailed
from clients.demo.chapters import SMALL, WHOLE, Story
from clients.demo.journal import SHOWN_IOU, Journal
from clients.demo.short import drive_and_show
from clients.demo.tables import class_table, stages, timeline_lines
from clients.demo.timeline_picture import draw_story
from clients.own_processes import DemoError
from exchange.plain_words import counted
from exchange.registry import read_ledger
from exchange.storage import StorageError
from exchange.storage.records import RecordError

_MARKER = ".roadshift-demo"
_WINDOW = 36
"""Frames of a point of the timeline: half of the fleet's distinct ones."""


def demo(
    out: Annotated[Path, typer.Option(help="Folder for pictures, logs, and the storage root.")] = Path("runs/demo"),
    short: Annotated[bool, typer.Option("--short", help="Serve and drive alone, in two minutes.")] = False,
    vehicles: Annotated[int, typer.Option(min=1, max=64, help="Of the short demo.")] = 4,
    frames: Annotated[int, typer.Option(min=1, help="Of each vehicle in each domain of the short demo.")] = 10,
    fake: Annotated[
        bool, typer.Option(help="Neither engine nor learning, and few frames: only the machinery.")
    ] = False,
) -> None:
    """Serve a fleet, adapt to dusk, judge, try, promote, refuse a poisoned release, roll back."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # ends what was started, as Ctrl-C does
    try:
        with _only_one(out):
            if short:
                drive_and_show(out, vehicles, frames, fake)
            else:
                _tell_the_story(out, fake)
    except (DemoError, RequestFailed, RecordError, StorageError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error


def _tell_the_story(out: Path, fake: bool) -> None:
    console = Console()
    story = Story(_fresh(out / "story"), out / "simulated", SMALL if fake else WHOLE, fake, console, Journal())
    story.tell()
    journal, shown = story.journal, stages(story.journal.answers, story.version)
    console.print(class_table(shown))
    lines = timeline_lines(journal, _WINDOW)
    console.print("mIoU over the time, from {:.0%} to {:.0%}:".format(*SHOWN_IOU), *lines, sep="\n", highlight=False)
    draw_story(out / "story.png", journal, shown, _WINDOW)
    learnt = f"release {story.version} was learnt and promoted" if story.version > 1 else "the gate refused the round"
    releases = counted(len(read_ledger(story.root)), "release")
    console.print(f"the demo ended well: {learnt}; {len(journal.answers)} frames, every one answered; {releases}")
    console.print(f"the picture: {out / 'story.png'}", highlight=False, soft_wrap=True)


@contextmanager
def _only_one(out: Path) -> Iterator[None]:
    """Raises DemoError where another demo is at work in the folder."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(f"another demo is at work in {out}: wait for it, or choose another --out") from None
        yield


def _fresh(folder: Path) -> Path:
    """An empty folder, where at most an earlier demo has left something."""
    if folder.exists():
        if not (folder / _MARKER).exists():
            raise DemoError(f"{folder} is not of an earlier demo: move it away, or choose another --out")
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / _MARKER).touch()
    return folder
