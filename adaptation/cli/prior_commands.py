"""`roadshift prior`: what each domain's prior is, and who decides about it."""

import itertools
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.table import Table

from adaptation.control.prior.deciding import freeze_prior, reset_prior
from exchange.label_space import CLASS_NAMES
from exchange.plain_words import counted
from exchange.plan.lease import LeaseHeld, LeaseLost, holding
from exchange.plan.priors import LiveEstimate, PriorRecord, read_priors
from exchange.plan.serving_plan import ServingPlan, read_plan
from exchange.registry.audit import user_at_host
from exchange.registry.releases import ReleaseError
from exchange.storage import StorageError, StorageRoot, open_known_root
from exchange.storage.locations import DomainName
from exchange.storage.records import RecordError

prior = typer.Typer(no_args_is_help=True, help="Show, freeze or reset the domains' live priors.")

Root = Annotated[str, typer.Option(envvar="ROADSHIFT_ROOT", help="file:///folder or s3://bucket/prefix.")]
Domain = Annotated[str, typer.Option(help="Such as sim-dusk.")]
_PATIENCE_S = 3.0
_UPDATE_EVERY_S = 5.0


@prior.command()
def show(root: Root) -> None:
    """Show each domain's prior: shares of frames with their 90 % intervals, and the log ratio that is served."""
    with _explained():
        storage = _root(root)
        stored = read_plan(storage)
        records = read_priors(storage)
        if not records:
            typer.echo("no priors yet: they appear once gateways serve frames and a learner follows this root")
        for record in records:
            for version, estimate in record.estimates.items():
                Console().print(_table(record, version, estimate, stored.plan if stored else None))


@prior.command()
def freeze(
    root: Root, domain: Domain, off: Annotated[bool, typer.Option("--off", help="Let it move again.")] = False
) -> None:
    """Keep a domain's prior in the serving plan as it is."""
    with _explained():
        freeze_prior(_root(root), _checked(domain), frozen=not off, who=user_at_host())
    typer.echo(f"the prior of {domain} {'moves again' if off else 'stays as it is'}")


@prior.command()
def reset(root: Root, domain: Domain) -> None:
    """Forget what a domain's frames have shown so far; it is served without adjustment until new ones say enough."""
    with _explained():
        reset_prior(_root(root), _checked(domain), who=user_at_host())
    typer.echo(
        f"the prior of {domain} begins anew; a learner takes {_UPDATE_EVERY_S:.0f} s to write that into the plan"
    )


@prior.command()
def follow(
    root: Root,
    release: Annotated[
        list[Path] | None, typer.Option(help="Folder of a release that gateways serve, and that is not published.")
    ] = None,
    updates: Annotated[int | None, typer.Option(min=1, help="Stop after so many; never by default.")] = None,
) -> None:
    """Estimate the priors again and again, and write them into the serving plan; holds the root's lease."""
    from adaptation.control.prior.follow import LivePrior  # loads torch, which the other commands do without

    with _explained():
        storage = _root(root)
        with holding(storage, f"{socket.gethostname()} process {os.getpid()}") as lease:
            live = LivePrior(storage, lease, release or [])
            for done in itertools.count(1):
                try:
                    plan = live.update()
                except (StorageError, RecordError) as error:
                    typer.echo(f"trying again: {error}", err=True)
                else:
                    typer.echo(f"revision {plan.revision}" if plan else "no rows yet")
                lease.check()
                if done == updates:
                    return
                time.sleep(_UPDATE_EVERY_S)


def _root(url: str) -> StorageRoot:
    return open_known_root(url, _PATIENCE_S)


def _checked(domain: str) -> str:
    try:
        return TypeAdapter(DomainName).validate_python(domain)
    except ValidationError:
        raise typer.BadParameter(f"{domain!r} is no domain name: such as sim-dusk") from None


def _table(record: PriorRecord, version: int, made: LiveEstimate, plan: ServingPlan | None) -> Table:
    served = plan.of(record.domain) if plan else None
    title = (
        f"{record.domain}, version {version}: {counted(made.frames, 'frame')}, worth {made.effective_frames:.0f} "
        f"(by {made.resampled}){', frozen' if record.frozen else ''}; served: {served.prior_id if served else 'none'}"
    )
    table = Table(title=title)
    for heading in ("class", "share of frames", "90 % interval", "log ratio", "served"):
        table.add_column(heading, justify="left" if heading == "class" else "right")
    in_plan = served.log_prior_ratio.get(version) if served else None
    for k in np.argsort(-np.abs(made.log_ratio), kind="stable").tolist():
        table.add_row(
            CLASS_NAMES[k],
            f"{made.share[k]:.3f}",
            f"{made.low[k]:.3f} to {made.high[k]:.3f}",
            f"{made.log_ratio[k]:+.2f}",
            "" if in_plan is None else f"{in_plan[k]:+.2f}",
        )
    return table


@contextmanager
def _explained() -> Iterator[None]:
    """Errors that somebody can do something about, in one line."""
    try:
        yield
    except (StorageError, RecordError, ReleaseError, LeaseHeld, LeaseLost) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
