"""`roadshift select-regions`: which regions of a folder of frames people should label for the next round."""

from pathlib import Path
from typing import Annotated, NoReturn

import torch
import typer
from rich.console import Console
from rich.markup import escape

from adaptation.learning.data.labelled_frames import DataError
from adaptation.learning.evaluation.evaluate import open_labeller, parse_size
from adaptation.learning.networks.checkpoints import WEIGHTS_FILE, CheckpointError
from adaptation.learning.rounds.region_requests import (
    REGIONS_FILE,
    REQUESTS_FOLDER,
    RegionBudget,
    answer_from_truth,
    request_regions,
)
from adaptation.learning.rounds.snapshot import list_target
from exchange.registry.releases import ReleaseError, file_sha256

_console = Console(stderr=True)


def select_regions(
    network: Annotated[Path, typer.Argument(help="A network's or a release's folder.")],
    target: Annotated[Path, typer.Option(help="A folder of frames, or a data set.")],
    out: Annotated[Path, typer.Option(help=f"Where {REQUESTS_FOLDER}/ and {REGIONS_FILE} go; it must not exist.")],
    clicks: Annotated[int | None, typer.Option(min=1, help="Clicks a frame, for people.")] = None,
    percent: Annotated[
        float | None, typer.Option(help="Or a percentage of each frame's pixels; RIPU's is 2.2.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="Labels given before, which are not asked again.")] = None,
    target_split: Annotated[str, typer.Option(help="Of a target that is a data set with splits.")] = "train",
    frame_size: Annotated[str | None, typer.Option(help="ROWSxCOLUMNS; a release's own, or 512x1024.")] = None,
    oracle: Annotated[bool, typer.Option("--oracle", help="Answer from the target's own labels: labels/.")] = False,
) -> None:
    """Ask for the labels that would teach most: train-id PNGs with the prediction where asked, 255 elsewhere."""
    try:
        if out.exists():
            raise DataError(f"{out} exists: requests are not mixed; name another folder")
        budget = RegionBudget(pixel_share=None if percent is None else percent / 100, clicks=clicks)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        labeller = open_labeller(network, parse_size(frame_size) if frame_size else None, device)
        listed = list_target(target, target_split)
        truth = [frame for _, _, frame in listed if frame is not None]
        if oracle and not truth:
            raise DataError(f"{target} holds no labels to answer from: leave out --oracle")
        images = [image for image, _, _ in listed]
        sha256 = file_sha256(network / WEIGHTS_FILE)
        requests = request_regions(out, labeller, sha256, images, budget, labels, _say_progress)
        if oracle:
            answer_from_truth(out, truth, labels)
    except (CheckpointError, DataError, ReleaseError, ValueError) as error:
        _fail(str(error))
    pixels = sum(frame.asked_pixels for frame in requests.frames)
    asked = sum(frame.regions for frame in requests.frames)
    _say(f"{out} asks for {pixels:,} pixels in {asked:,} regions of {len(images)} frames")


def _say_progress(done: int, total: int) -> None:
    _console.print(f"selected in {done} of {total} frames", end="\r")


def _say(message: str) -> None:
    _console.print(escape(message), highlight=False, soft_wrap=True)


def _fail(message: str) -> NoReturn:
    _console.print(f"[red]error:[/red] {escape(message)}", highlight=False, soft_wrap=True)
    raise typer.Exit(1)
