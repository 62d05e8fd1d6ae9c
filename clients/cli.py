"""Commands for those who send frames: here, driving through the simulated city."""

import math
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from clients.simulated_city import DOMAINS
from clients.simulated_city.cityscapes_writer import city_name, write_cityscapes

FRAMES_PER_DRIVE = 20


class Split(str, Enum):
    train = "train"
    val = "val"


def _parse_size(text: str) -> tuple[int, int]:
    rows, _, columns = text.partition("x")
    if not (rows.isdecimal() and columns.isdecimal()):
        raise typer.BadParameter(f"give rows x columns such as 512x1024, not {text!r}", param_hint="--size")
    return int(rows), int(columns)


def simulate(
    domain: Annotated[str, typer.Option(help=f"One of {', '.join(DOMAINS)}.")],
    frames: Annotated[int, typer.Option(min=1, help="How many frames in all.")],
    out: Annotated[Path, typer.Option(help="Folder for leftImg8bit and gtFine; the split's city must be empty.")],
    seed: Annotated[int, typer.Option(min=0, max=99_999, help="Other seeds give other drives.")] = 0,
    split: Annotated[Split, typer.Option(help="train and val share no drive.")] = Split.train,
    size: Annotated[str, typer.Option(help="ROWSxCOLUMNS, multiples of 8.")] = "512x1024",
    drives: Annotated[int, typer.Option(min=0, max=10_000, help="0: one for every 20 frames.")] = 0,
) -> None:
    """Drive through the simulated city and write labelled frames in the Cityscapes layout, one second apart."""
    size_hw = _parse_size(size)
    drives = drives or math.ceil(frames / FRAMES_PER_DRIVE)
    if drives > frames:
        raise typer.BadParameter(f"{frames} frames cannot come from {drives} drives", param_hint="--drives")
    occupied = out / "leftImg8bit" / split.value / city_name(domain)
    if occupied.exists() and any(occupied.iterdir()):
        raise typer.BadParameter(f"{occupied} already holds files: name another folder", param_hint="--out")
    columns = (TextColumn(f"{domain} {split.value}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns) as progress:
            written = write_cityscapes(out, domain, split.value, frames, drives, seed, size_hw)
            for _ in progress.track(written, total=frames):
                pass
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo(f"{frames} frames of {drives} drives in {out}")
