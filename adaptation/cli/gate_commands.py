"""`roadshift gate`: whether a release may take another one's place."""

from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, TaskID

from adaptation.learning.data.data_choice import choose_data
from adaptation.learning.data.labelled_frames import DataError
from adaptation.learning.export.build_tensorrt import TensorRTError
from adaptation.learning.gate.judge import judge
from adaptation.learning.gate.measure import TargetFrame, measure
from adaptation.learning.networks.checkpoints import CheckpointError
from adaptation.learning.rounds.snapshot import list_target
from exchange.jobs.limits import GateLimits
from exchange.jobs.verdict import verdict_table
from exchange.registry.releases import ReleaseError

_console = Console(stderr=True)


def gate(
    candidate: Annotated[Path, typer.Argument(help="The release's folder.")],
    incumbent: Annotated[Path, typer.Option(help="The release that serves now.")],
    source: Annotated[list[Path], typer.Option(help="Labelled data that neither was trained on; several times.")],
    target: Annotated[Path, typer.Option(help="Unlabelled frames of where the candidate is to serve.")],
    labels: Annotated[
        Path | None, typer.Option(help="Train-id PNGs named like target frames, 255 where nobody was asked.")
    ] = None,
    anchor: Annotated[
        Path | None, typer.Option(help="The release that judges where the incumbent itself was self-trained.")
    ] = None,
    source_split: Annotated[list[str] | None, typer.Option(help="A split's name, or all; val by default.")] = None,
    source_sequences: Annotated[list[str] | None, typer.Option(help="Drives to keep, with commas, or all.")] = None,
    target_split: Annotated[str, typer.Option(help="Of a target that is a data set with splits.")] = "val",
    as_json: Annotated[bool, typer.Option("--json", help="Measurements and verdict, instead of the table.")] = False,
) -> None:
    """Compare a candidate with the incumbent; exits with 1 where the gate refuses it."""
    try:
        sources = choose_data(source, "val", splits=source_split, sequences=source_sequences)
        frames = [TargetFrame(image, drive) for image, drive, _ in list_target(target, target_split)]
        with Progress(console=_console) as progress:
            tasks: dict[str, TaskID] = {}

            def show(what: str, done: int, total: int) -> None:
                if what not in tasks:
                    tasks[what] = progress.add_task(what, total=total)
                progress.update(tasks[what], completed=done, total=total)

            measured = measure(candidate, incumbent, sources, frames, sentinel=labels, anchor=anchor, on_frame=show)
    except (DataError, ReleaseError, CheckpointError, TensorRTError, ValueError) as error:
        _fail(str(error))
    verdict = judge(measured, GateLimits())
    if as_json:
        typer.echo(f'{{"verdict": {verdict.model_dump_json()}, "measurements": {measured.model_dump_json()}}}')
    else:
        Console().print(verdict_table(verdict))
    if not verdict.passed:
        raise typer.Exit(1)


def _fail(message: str) -> NoReturn:
    _console.print(f"[red]error:[/red] {escape(message)}", highlight=False, soft_wrap=True)
    raise typer.Exit(1)
