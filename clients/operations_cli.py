"""Commands for those who run the learner: rounds, triggers, and how it is."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from roadshift.v1 import operations_pb2 as pb

from clients.client import RequestFailed
from clients.operations import DEFAULT_LEARNER, FINAL_PHASES, OperationsClient, phase_name
from exchange.net.calling import Connection
from exchange.storage.locations import TRIGGERS

round_commands = typer.Typer(no_args_is_help=True, help="Start, watch and cancel rounds of adaptation.")
trigger_commands = typer.Typer(no_args_is_help=True, help="When rounds start by themselves.")

_Server = Annotated[
    str,
    typer.Option(
        envvar="ROADSHIFT_LEARNER",
        help="The learner's address; for TLS set ROADSHIFT_CA, and ROADSHIFT_TOKEN or ROADSHIFT_CLIENT_CERTIFICATE "
        "and ROADSHIFT_CLIENT_KEY.",
    ),
]
_RoundId = Annotated[str, typer.Argument(help="As roadshift round list shows it.")]
_Domain = Annotated[str, typer.Option(help="Such as sim-dusk.")]


@round_commands.command()
def start(
    domain: _Domain,
    recipe: Annotated[str, typer.Option(help="The learner's default if absent.")] = "",
    minutes: Annotated[float, typer.Option(min=0, help="Of the whole round; 0: the recipe's own budget.")] = 0,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    key: Annotated[str, typer.Option(help="The same key starts no second round.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Try the result even where the gate refuses.")] = False,
    why: Annotated[str, typer.Option(help="Why the gate is not to count.")] = "",
    watch: Annotated[bool, typer.Option("--watch", help="Show its progress until it has ended.")] = False,
    server: _Server = DEFAULT_LEARNER,
) -> None:
    """Start a round from a domain's captured frames; it waits while another one runs."""
    request = pb.StartRoundRequest(
        domain=domain,
        recipe=recipe,
        minutes=minutes,
        seed=seed,
        idempotency_key=key or uuid.uuid4().hex,
        force=force,
        why=why,
    )
    with _learner(server) as learner:
        started = learner.start_round(request)
        typer.echo(f"round {started.id} of {started.domain}: {phase_name(started.phase)}")
        if watch:
            _watch(learner, started.id)


@round_commands.command()
def watch(round_id: _RoundId, server: _Server = DEFAULT_LEARNER) -> None:
    """Show a round's progress until it has ended; exit code 0 only when it was promoted."""
    with _learner(server) as learner:
        _watch(learner, round_id)


@round_commands.command("list")
def list_them(
    domain: Annotated[str, typer.Option(help="All if absent.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=200)] = 20,
    server: _Server = DEFAULT_LEARNER,
) -> None:
    """List rounds, the newest first."""
    table = Table(*(Column(name, no_wrap=True) for name in ("round", "domain", "began", "phase")), "why")
    with _learner(server) as learner:
        for each in learner.list_rounds(domain, limit):
            began = f"{each.created_at.ToDatetime():%Y-%m-%d %H:%M}"
            table.add_row(each.id, each.domain, began, phase_name(each.phase), each.reason)
    Console().print(table)


@round_commands.command()
def show(round_id: _RoundId, server: _Server = DEFAULT_LEARNER) -> None:
    """Show what a round did, and what the gate said."""
    with _learner(server) as learner:
        found = learner.get_round(round_id)
    console = Console()
    console.print(f"round {found.id} of {found.domain}, recipe {found.recipe}: {phase_name(found.phase)}", found.reason)
    for event in found.events:
        console.print(f"{event.at.ToDatetime():%Y-%m-%d %H:%M:%S}  {event.text}", highlight=False)
    if found.checks:
        console.print(gate_table(found))


@round_commands.command()
def cancel(round_id: _RoundId, server: _Server = DEFAULT_LEARNER) -> None:
    """Cancel a round, wherever it is; a candidate of it is dropped."""
    with _learner(server) as learner:
        cancelled = learner.cancel_round(round_id)
    ended = cancelled.phase in FINAL_PHASES
    typer.echo(f"round {round_id}: {phase_name(cancelled.phase) if ended else 'is being cancelled'}")


@trigger_commands.command("set")
def set_it(
    domain: _Domain,
    every_hours: Annotated[float, typer.Option(min=0, help="After so long without a round; 0: never by time.")] = 0,
    drift: Annotated[bool, typer.Option("--drift", help="When prior or confidence have moved.")] = False,
    min_new_frames: Annotated[int, typer.Option(min=1, help="Captured since the last round.")] = 256,
    recipe: Annotated[str, typer.Option(help="The learner's default if absent.")] = "",
    minutes: Annotated[float, typer.Option(min=0, help="0: the recipe's own budget.")] = 0,
    server: _Server = DEFAULT_LEARNER,
) -> None:
    """Say when a domain's rounds start by themselves; with neither --every-hours nor --drift they do not."""
    wanted = pb.Trigger(
        domain=domain,
        interval_s=3600 * every_hours,
        drift=drift,
        min_new_frames=min_new_frames,
        recipe=recipe,
        minutes=minutes,
    )
    with _learner(server) as learner:
        typer.echo(_trigger_line(learner.set_trigger(wanted)))


@trigger_commands.command("list")
def list_triggers(server: _Server = DEFAULT_LEARNER) -> None:
    """List the domains whose rounds start by themselves."""
    with _learner(server) as learner:
        status = learner.status()
    for trigger in status.triggers:
        typer.echo(_trigger_line(trigger))
    if unknown := [trouble for trouble in status.troubles if TRIGGERS in trouble]:
        typer.echo(f"error: {unknown[0]}", err=True)
        raise typer.Exit(1)


def learner_status(server: str) -> None:
    """Prints how the learner at an address is; exit code 1 where something does not work."""
    with _learner(server, "--learner") as learner:
        status = learner.status()
    Console().print(_status_table(server, status))
    if status.troubles:
        raise typer.Exit(1)


@contextmanager
def _learner(server: str, option: str = "--server") -> Iterator[OperationsClient]:
    """Refusals end the command with one line."""
    try:
        with OperationsClient(Connection.from_environment(server, option)) as learner:
            yield learner
    except (RequestFailed, ValueError) as error:
        typer.echo(f"error: the learner at {server}: {error}", err=True)
        raise typer.Exit(1) from error


def _watch(learner: OperationsClient, round_id: str) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    last: pb.Round | None = None
    with Progress(*columns, console=Console(stderr=True)) as progress:
        tasks: dict[str, TaskID] = {}
        told = 0
        for last in learner.watch_round(round_id):
            for event in list(last.events)[told:]:
                progress.console.print(event.text, highlight=False)
            told = len(last.events)
            show_step(progress, tasks, last)
    if last is None or last.phase != pb.ROUND_PHASE_PROMOTED:
        raise typer.Exit(1)


def show_step(progress: Progress, tasks: dict[str, TaskID], now: pb.Round) -> None:
    """One bar for each step, with the loss of now."""
    step = now.progress.step
    if not step:
        return
    if step not in tasks:
        tasks[step] = progress.add_task(step, total=now.progress.total)
    notes = [f"loss {now.progress.numbers['loss']:.3f}"] if "loss" in now.progress.numbers else []
    notes += [f"waits: {now.progress.paused}"] if now.progress.paused else []
    progress.update(tasks[step], completed=now.progress.done, description=", ".join([step, *notes]))


def gate_table(found: pb.Round) -> Table:
    table = Table("check", "value", "must be", "", "what it means", title="the gate")
    for check in found.checks:
        value = f"{check.value:.4g}" if check.HasField("value") else "-"
        bound = f"{'at least' if check.at_least else 'at most'} {check.threshold:.4g}"
        table.add_row(check.name, value, bound, "passes" if check.passed else "REFUSES", check.explanation)
    return table


def _trigger_line(trigger: pb.Trigger) -> str:
    when = [f"every {trigger.interval_s / 3600:g} hours"] if trigger.interval_s else []
    when += ["on drift"] if trigger.drift else []
    if not when:
        return f"{trigger.domain}: rounds start by operators alone"
    return f"{trigger.domain}: {' and '.join(when)}, after {trigger.min_new_frames} new frames"


def _status_table(server: str, status: pb.LearnerStatus) -> Table:
    table = Table(show_header=False)
    table.add_row("learner", f"{server}: {status.holder}, epoch {status.lease_epoch}")
    table.add_row("root", f"{status.root}, plan revision {status.plan_revision}")
    for served in status.domains:
        before = f", before {served.previous}" if served.previous else ""
        tried = f", tries {served.candidate} ({100 * served.candidate_share:g} %)" if served.candidate else ""
        table.add_row(served.domain, f"release {served.serving}{before}{tried}, prior {served.prior_id}")
    for gateway in status.gateways:
        loaded = ", ".join(map(str, gateway.loaded)) or "nothing"
        alive = "alive" if gateway.alive else "silent"
        table.add_row(f"gateway {gateway.name}", f"{alive}, revision {gateway.plan_revision}, has {loaded}")
    running = f"{status.running.id} of {status.running.domain}: {phase_name(status.running.phase)}"
    table.add_row("round", f"{running if status.HasField('running') else 'none'}; {status.queued} wait")
    for trigger in status.triggers:
        table.add_row("trigger", _trigger_line(trigger))
    for trouble in status.troubles:
        table.add_row("TROUBLE", trouble)
    return table
