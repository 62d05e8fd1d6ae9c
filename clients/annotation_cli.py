"""Commands of those who have regions labelled."""

import getpass
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from pydantic import JsonValue, TypeAdapter, ValidationError
from rich.console import Console
from rich.table import Table
from roadshift.v1 import annotation_pb2 as pb

from clients.annotation import AnnotationClient
from clients.annotation_files.answers import Import, answer_of, sort_answers, take
from clients.annotation_files.asked_frames import asked_frames
from clients.annotation_files.cityscapes import read_cityscapes, write_cityscapes
from clients.annotation_files.cvat import Shape, read_cvat, write_cvat
from clients.annotation_files.refusals import FileRefused
from clients.client import RequestFailed
from clients.operations import DEFAULT_LEARNER
from exchange.audit import AuditEntry, audited, user_at_host
from exchange.calling import Connection
from exchange.locations import DomainName
from exchange.records import RecordError
from exchange.regions import Annotator, NoSuchBatch, drop_batch, read_batches
from exchange.storage import StorageError, StorageRoot, open_root

label_commands = typer.Typer(no_args_is_help=True, help="Regions that people label: ask, see how far, out and back.")


class Form(StrEnum):
    """What a folder of labels is like."""

    CVAT = "cvat"
    CITYSCAPES = "cityscapes"


_Server = Annotated[
    str,
    typer.Option(
        envvar="ROADSHIFT_LEARNER",
        help="The learner's address; for TLS set ROADSHIFT_CA, and ROADSHIFT_TOKEN or ROADSHIFT_CLIENT_CERTIFICATE "
        "and ROADSHIFT_CLIENT_KEY.",
    ),
]
_Root = Annotated[str, typer.Option(envvar="ROADSHIFT_ROOT", help="file:///folder or s3://bucket/prefix.")]
_Domain = Annotated[str, typer.Option(help="Such as sim-dusk.")]
_Form = Annotated[Form, typer.Option("--format", help="CVAT for images 1.1, or train-id PNG with regions.json.")]


@label_commands.command()
def ask(
    domain: _Domain,
    clicks: Annotated[int, typer.Option(min=0, help="How many clicks people may make.")] = 0,
    minutes: Annotated[float, typer.Option(min=0, help="Or how long they may take, at their pace so far.")] = 0,
    double_share: Annotated[float, typer.Option(min=0, max=1, help="Of the regions: shown to two people.")] = 0.2,
    server: _Server = DEFAULT_LEARNER,
) -> None:
    """Have the learner pick the regions whose labels would teach most."""
    with _answering(server), AnnotationClient(Connection.from_environment(server)) as learner:
        batch = learner.ask(domain, clicks=clicks, minutes=minutes, double_share=double_share)
    typer.echo(f"batch {batch} of {domain}: the learner picks its regions; roadshift labels progress --domain {domain}")


@label_commands.command()
def progress(domain: _Domain, server: _Server = DEFAULT_LEARNER) -> None:
    """Show how far people are with a domain's regions."""
    with _answering(server), AnnotationClient(Connection.from_environment(server)) as learner:
        Console().print(_progress_table(learner.progress(domain)))


@label_commands.command("export")
def export_them(
    domain: _Domain,
    out: Annotated[Path, typer.Option(help="A folder; it must not exist.")],
    root: _Root,
    form: _Form = Form.CVAT,
) -> None:
    """Write a domain's regions with their frames, labelled and not, for another tool."""
    if out.exists():
        raise _failure(f"{out} exists: name a new folder")
    with _answering(root):
        opened, name = open_root(root), _domain(domain)
        batches = read_batches(opened, name)
        if not batches:
            raise _failure(f"nobody was asked about regions of {domain}: roadshift labels ask --domain {domain}")
        frames = asked_frames(opened, name, batches)
        regions = write_cvat(out, frames) if form is Form.CVAT else write_cityscapes(out, name, frames)
    typer.echo(f"{out}: {regions} regions of {domain}")


@label_commands.command("import")
def import_them(
    folder: Annotated[
        Path, typer.Argument(help="As export wrote it, with answers; of CVAT its annotations.xml alone.")
    ],
    domain: _Domain,
    root: _Root,
    form: _Form = Form.CVAT,
    annotator: Annotated[str, typer.Option(help="Who labelled; you on this machine if absent.")] = "",
    take_valid: Annotated[bool, typer.Option("--take-valid", help="Take the rest where some is refused.")] = False,
) -> None:
    """Take answers from another tool; where one cannot be taken, none is, and the exit code is 1."""
    if not folder.exists():
        raise _failure(f"{folder} does not exist: give what roadshift labels export wrote")
    with _answering(root):
        opened, name = open_root(root), _domain(domain)
        who = _checked(annotator or f"{getpass.getuser()}@{socket.gethostname()}")
        found = _read(opened, name, folder, form, who)
        _tell_refused(found)
        if found.refused and not take_valid:
            typer.echo(
                f"nothing was taken: put right what was refused, or take the other {len(found.new)} answers by"
                " --take-valid",
                err=True,
            )
            raise typer.Exit(1)
        if not (found.new or found.refused or found.known):
            raise _failure(f"nothing is labelled in {folder}: set classes or paint them, then import it again")
        details: dict[str, JsonValue] = {"answers": len(found.new), "refused": len(found.refused), "annotator": who}
        with audited(opened, AuditEntry(who=user_at_host(), what="import-labels", domain=name, details=details)):
            taken = take(opened, name, found.new, who)
        _tell_refused(taken)
    typer.echo(f"{len(taken.new)} answers of {who} taken, {found.known} were there before")
    if taken.refused:
        raise typer.Exit(1)


@label_commands.command()
def drop(
    domain: _Domain,
    batch: Annotated[str, typer.Option(help="Its id; export it first.")],
    root: _Root,
) -> None:
    """Delete a batch of regions with what people said in it."""
    with _answering(root):
        opened, name = open_root(root), _domain(domain)
        entry = AuditEntry(who=user_at_host(), what="drop-labels", domain=name, details={"batch": batch})
        with audited(opened, entry):
            drop_batch(opened, name, batch)
    typer.echo(f"batch {batch} of {domain} is gone")


def _read(root: StorageRoot, domain: str, folder: Path, form: Form, annotator: str) -> Import:
    known = {frame.sha256: frame.regions for frame in asked_frames(root, domain, read_batches(root, domain))}
    if form is Form.CITYSCAPES:
        return sort_answers(read_cityscapes(folder, domain, known), known, annotator)
    sizes = {sha256: regions[0].task.size_hw for sha256, regions in known.items()}
    shapes = read_cvat(folder, sizes)
    said = (answer_of(each, known[each.frame_sha256]) if isinstance(each, Shape) else each for each in shapes)
    return sort_answers((each for each in said if each is not None), known, annotator)


def _tell_refused(found: Import) -> None:
    for refusal in found.refused:
        typer.echo(f"refused: {refusal.place}: {refusal.why}", err=True)


def _progress_table(found: pb.LabelProgress) -> Table:
    table = Table(show_header=False, title=f"regions of {found.domain}")
    table.add_row("wait", f"{found.waiting}, and {found.leased} are looked at")
    table.add_row("labelled", f"{found.labelled}, {found.unsure} of them unsure; {found.skipped} skipped")
    pace = f", {found.seconds_a_click:.1f} s a click" if found.HasField("seconds_a_click") else ""
    table.add_row("clicks", f"{found.clicks_used} made, {found.clicks_left} left; {found.minutes:.1f} minutes{pace}")
    agreement = f"{found.agreement:.0%}" if found.HasField("agreement") else "-"
    disputed = f"; {found.disputed} wait for a third person" if found.disputed else ""
    table.add_row("agreement", f"{agreement} of {found.answered_twice} that two people saw{disputed}")
    table.add_row("held out", f"{found.held_out}, {found.sentinel_share:.0%}: they judge releases and train nothing")
    for batch in found.batches:
        told = f"{batch.regions} regions, {batch.open} open" if batch.phase == "open" else batch.phase
        table.add_row(f"batch {batch.id}", f"{told}: {batch.reason}" if batch.reason else told)
    return table


@contextmanager
def _answering(where: str) -> Iterator[None]:
    """Refusals end the command with one line."""
    try:
        yield
    except RequestFailed as error:
        raise _failure(f"the learner at {where}: {error}") from error
    except (FileRefused, NoSuchBatch, OSError, RecordError, StorageError, ValueError) as error:
        raise _failure(" ".join(str(error).split())) from error


def _domain(text: str) -> str:
    try:
        return TypeAdapter[str](DomainName).validate_python(text)
    except ValidationError:
        raise ValueError(f"{text[:64]!r} is no domain name: such as sim-dusk") from None


def _checked(annotator: str) -> str:
    try:
        return TypeAdapter[str](Annotator).validate_python(annotator)
    except ValidationError:
        raise ValueError(f"{annotator[:64]!r} is no name: use letters, digits and @ . : + -") from None


def _failure(message: str) -> typer.Exit:
    typer.echo(f"error: {message}", err=True)
    return typer.Exit(1)
