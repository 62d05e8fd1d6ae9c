"""Commands of those who have regions labelled."""

import getpass
import shlex
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from pydantic import JsonValue, TypeAdapter, ValidationError
from rich.console import Console
from rich.table import Table
from roadshift.v1 import annotation_pb2 as pb

from clients.annotation import AnnotationClient
from clients.annotation_files.answers import Import
from clients.annotation_files.asked_frames import asked_frames
from clients.annotation_files.cityscapes import write_cityscapes
from clients.annotation_files.cvat import write_cvat
from clients.annotation_files.importing import Form, Meant, moment_of, read_answers, take_audited, undo_audited
from clients.annotation_files.refusals import FileRefused, Refusal, some_of
from clients.client import RequestFailed
from clients.operations import DEFAULT_LEARNER
from exchange.net.calling import Connection
from exchange.plain_words import counted
from exchange.regions.batches import NoSuchBatch, drop_batch, read_batches
from exchange.regions.tasks import Annotator
from exchange.registry.audit import AuditEntry, audited, user_at_host
from exchange.storage import StorageError, open_known_root
from exchange.storage.locations import DomainName
from exchange.storage.records import RecordError

label_commands = typer.Typer(no_args_is_help=True, help="Regions that people label: ask, see how far, out and back.")


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
        opened, name = open_known_root(root), _domain(domain)
        batches = read_batches(opened, name)
        if not batches:
            raise _failure(f"nobody was asked about regions of {domain}: roadshift labels ask --domain {domain}")
        frames = asked_frames(opened, name, batches)
        regions = write_cvat(out, frames) if form is Form.CVAT else write_cityscapes(out, name, frames)
    typer.echo(f"{out}: {counted(regions, 'region')} of {domain}")


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
        opened, name = open_known_root(root), _domain(domain)
        who = _annotator(annotator or f"{getpass.getuser()}@{socket.gethostname()}")
        found = read_answers(opened, name, folder, form, who)
        _tell_refused(found.refused)
        _tell_unanswered(found)
        if found.refused and not take_valid:
            raise _nothing_taken(found)
        if not (found.new or found.refused or found.known):
            raise _failure(f"nothing is labelled in {folder}: set classes or paint them, then import it again")
        taken = take_audited(opened, name, found, who, f"{form} {folder}"[:256])
    _tell_refused(taken.refused)
    before = f"{found.known} {'was' if found.known == 1 else 'were'} there before"
    typer.echo(f"{counted(taken.answers, 'answer')} of {who} taken, {before}")
    if taken.answers:
        options = f"--domain {domain} --root {shlex.quote(root)}"
        typer.echo(f"roadshift labels undo-import {taken.import_id} {options} takes them back")
    if taken.refused:
        raise typer.Exit(1)


@label_commands.command()
def undo_import(
    domain: _Domain,
    root: _Root,
    import_id: Annotated[str, typer.Argument(help="As import told it, and roadshift audit tells it.")] = "",
    annotator: Annotated[str, typer.Option(help="All that was ever imported in this name, if no id is given.")] = "",
) -> None:
    """Take imported answers back: their regions wait for people again; what people said at the desk stays."""
    if not (import_id or annotator):
        raise _failure("say which: an import's id, or --annotator NAME for all imports in a name")
    with _answering(root):
        opened, name = open_known_root(root), _domain(domain)
        at = moment_of(import_id) if import_id else None
        undone = undo_audited(opened, name, Meant(at, _annotator(annotator) if annotator else ""))
    if undone is None:
        raise _failure(f"no answer in {domain} is of such an import: roadshift audit tells which there were")
    typer.echo(f"{undone} taken back: their regions wait again; rounds that have begun keep what they copied")


@label_commands.command()
def drop(
    domain: _Domain,
    batch: Annotated[str, typer.Option(help="Its id; export it first.")],
    root: _Root,
) -> None:
    """Delete a batch of regions with what people said in it."""
    with _answering(root):
        opened, name = open_known_root(root), _domain(domain)
        held = next((each for each in read_batches(opened, name) if each.id == batch), None)
        if held is None:
            raise NoSuchBatch(f"there is no batch {batch} in {domain}: roadshift labels progress names them")
        opinions = [opinion for task in held.tasks for opinion in task.opinions]
        told: dict[str, JsonValue] = {"batch": batch, "regions": len(held.tasks), "answers": len(opinions)}
        told["annotators"] = [*sorted({opinion.annotator for opinion in opinions})]
        with audited(opened, AuditEntry(who=user_at_host(), what="drop-labels", domain=name, details=told)):
            drop_batch(opened, name, batch)
    lost = f"{counted(len(held.tasks), 'region')} and {counted(len(opinions), 'answer')}"
    typer.echo(f"batch {batch} of {domain} is gone, with {lost}")


def _nothing_taken(found: Import) -> typer.Exit:
    others = f", or take the other {counted(len(found.new), 'answer')} by --take-valid" if found.new else ""
    places = counted(len(found.refused), "place")
    typer.echo(f"nothing was taken: put right what was refused in {places}{others}", err=True)
    return typer.Exit(1)


def _tell_refused(refused: Sequence[Refusal]) -> None:
    for refusal in refused:
        typer.echo(f"refused: {refusal.place}: {refusal.why}", err=True)


def _tell_unanswered(found: Import) -> None:
    if found.unanswered:
        frames = [frame for frame, _ in found.unanswered]
        regions = counted(sum(count for _, count in found.unanswered), "region")
        typer.echo(f"no answer in it for {regions} in {counted(len(frames), 'frame')}: {some_of(frames)}", err=True)


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
        told = f"{counted(batch.regions, 'region')}, {batch.open} open" if batch.phase == "open" else batch.phase
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


def _annotator(annotator: str) -> str:
    try:
        return TypeAdapter[str](Annotator).validate_python(annotator)
    except ValidationError:
        raise ValueError(f"{annotator[:64]!r} is no name: use letters, digits and @ . : + -") from None


def _failure(message: str) -> typer.Exit:
    typer.echo(f"error: {message}", err=True)
    return typer.Exit(1)
