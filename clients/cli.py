"""Commands for those who send frames, and for driving through the simulated city."""

import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from clients.client import Connection, FrameSettings, RoadshiftClient
from clients.gateway_status import GatewayStatus, ask_gateway
from clients.operations_cli import learner_status
from clients.segment_files import segment_files
from clients.simulation.city import DOMAINS
from clients.simulation.city.cityscapes_writer import city_name, write_cityscapes
from clients.simulation.city.drive import check_drive
from clients.simulation.fleet_plan import FleetPlan, fleet_progress, fleet_table
from exchange.plain_words import counted

FRAMES_PER_DRIVE = 20
_MOST_PIXELS = 1 << 24
"""As many as a gateway takes by default."""

_Server = Annotated[
    str,
    typer.Option(
        help="The gateway's address; for TLS set ROADSHIFT_CA, and ROADSHIFT_TOKEN or ROADSHIFT_CLIENT_CERTIFICATE "
        "and ROADSHIFT_CLIENT_KEY."
    ),
]
_DEFAULT_SERVER = "127.0.0.1:8500"


class Split(StrEnum):
    train = "train"
    val = "val"


def _parse_size(text: str) -> tuple[int, int]:
    rows, _, columns = text.partition("x")
    if not (rows.isdecimal() and columns.isdecimal()):
        raise typer.BadParameter(f"give rows x columns such as 512x1024, not {text!r}", param_hint="--size")
    if int(rows) * int(columns) > _MOST_PIXELS:
        raise typer.BadParameter(f"{text} is more than {_MOST_PIXELS} pixels", param_hint="--size")
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
    try:
        check_drive(domain, seed, size_hw)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    drives = drives or math.ceil(frames / FRAMES_PER_DRIVE)
    if drives > frames:
        raise typer.BadParameter(
            f"{counted(frames, 'frame')} cannot come from {counted(drives, 'drive')}", param_hint="--drives"
        )
    occupied = out / "leftImg8bit" / split.value / city_name(domain)
    if occupied.exists() and any(occupied.iterdir()):
        raise typer.BadParameter(f"{occupied} already holds files: name another folder", param_hint="--out")
    columns = (TextColumn(f"{domain} {split.value}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        written = write_cityscapes(out, domain, split.value, frames, drives, seed, size_hw)
        try:
            for _ in progress.track(written, total=frames):
                pass
        except OSError as error:
            raise typer.BadParameter(f"{error}: name a folder that can be written", param_hint="--out") from error
    typer.echo(f"{counted(frames, 'frame')} of {counted(drives, 'drive')} in {out}")


def segment(
    files: Annotated[list[Path], typer.Argument(help="JPEG or PNG files.")],
    out: Annotated[Path, typer.Option(help="Folder for <name>.labels.png and <name>.overlay.jpg.")],
    domain: Annotated[str, typer.Option(help="Where they were taken, such as zurich-night.")] = "",
    server: _Server = _DEFAULT_SERVER,
) -> None:
    """Label image files: palette PNGs of the train ids, and the colours over the frames."""
    connection = _connect(server)
    failed = 0
    with RoadshiftClient(connection, FrameSettings(domain=domain), timeout_s=60.0) as client:
        try:
            for outcome in segment_files(client, files, out):
                if outcome.result is None:
                    failed += 1
                    typer.echo(f"{outcome.file}: {outcome.error}", err=True)
                    continue
                rows, columns = outcome.result.labels_HW.shape
                typer.echo(
                    f"{outcome.file}: {columns}x{rows}, version {outcome.result.model_version}, "
                    f"confidence {outcome.result.mean_confidence:.2f}, "
                    f"{1000 * outcome.result.stage_seconds['total']:.0f} ms"
                )
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
    if failed:
        raise typer.Exit(1)


def fleet(
    domain: Annotated[
        list[str], typer.Option(help=f"One of {', '.join(DOMAINS)}; repeat to drive one after the other.")
    ],
    vehicles: Annotated[int, typer.Option(min=1, max=256)] = 4,
    fps: Annotated[float, typer.Option(min=0.01, help="Frames per second of each vehicle.")] = 2.0,
    frames: Annotated[int, typer.Option(min=1, help="Frames of each vehicle.")] = 40,
    distinct: Annotated[int, typer.Option(min=1, help="Frames to render for each vehicle; then it starts anew.")] = 10,
    size: Annotated[str, typer.Option(help="ROWSxCOLUMNS, multiples of 8.")] = "512x1024",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder for frame | labels | confidence of each vehicle.")
    ] = None,
    server: _Server = _DEFAULT_SERVER,
) -> None:
    """Drive simulated vehicles against a gateway, and show what became of their frames."""
    connection = _connect(server)
    plan = FleetPlan(vehicles, frames, min(frames, distinct), _parse_size(size), seed, pictures)
    with fleet_progress() as progress:
        try:
            rendered = {name: plan.render(name, progress) for name in domain}
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
        reports = [plan.drive(connection, name, rendered[name], fps, progress) for name in domain]
    Console().print(fleet_table(reports))
    if not any(report.answered for report in reports):
        typer.echo(f"error: no frame was answered: {dict(reports[-1].failures)}", err=True)
        raise typer.Exit(1)


def _connect(server: str) -> Connection:
    """The connection to a gateway that serves; otherwise the command ends with one line."""
    connection = _connection(server)
    answer = ask_gateway(connection, metrics="")
    if not answer.is_serving:
        typer.echo(f"error: the gateway at {server} does not serve: {answer.health}", err=True)
        raise typer.Exit(1)
    return connection


def _connection(server: str) -> Connection:
    try:
        return Connection.from_environment(server)
    except ValueError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error


def status(
    server: _Server = _DEFAULT_SERVER,
    metrics: Annotated[
        str, typer.Option(help="Address of the gateway's /metrics; '' to leave it out.")
    ] = "127.0.0.1:9500",
    learner: Annotated[str, typer.Option(help="Ask the learner at this address instead.")] = "",
) -> None:
    """Ask a gateway, or a learner, how it is; exit code 0 only when it works."""
    if learner:
        learner_status(learner)
        return
    answer = ask_gateway(_connection(server), metrics)
    Console().print(_status_table(server, answer))
    if answer.metrics_error:
        advice = "give its own --metrics, or '' where it serves none"
        typer.echo(f"error: no metrics at {metrics}: {answer.metrics_error}: {advice}", err=True)
    if not answer.is_serving or answer.metrics_error:
        raise typer.Exit(1)


def _status_table(server: str, answer: GatewayStatus) -> Table:
    table = Table(show_header=False)
    table.add_row("gateway", server)
    table.add_row("health", answer.health)
    if answer.samples:
        for title, metric, label in (
            ("versions serving", "roadshift_version_serving", "version"),
            ("versions ready", "roadshift_version_ready", "version"),
        ):
            table.add_row(title, ", ".join(answer.by_label(metric, label)) or "none")
        for title, metric, label in (
            ("frames by status", "roadshift_requests_total", "status"),
            ("frames by domain", "roadshift_requests_total", "domain"),
            ("refused by reason", "roadshift_refused_total", "reason"),
        ):
            counts = answer.by_label(metric, label)
            table.add_row(title, ", ".join(f"{name} {count:.0f}" for name, count in counts.items()) or "none")
        for title, metric in (
            ("in flight", "roadshift_in_flight_frames"),
            ("queued", "roadshift_queued_frames"),
            ("engine restarts", "roadshift_engine_restarts_total"),
        ):
            table.add_row(title, f"{answer.value(metric):.0f}")
    return table
