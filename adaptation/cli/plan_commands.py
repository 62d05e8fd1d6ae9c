"""`roadshift release promote`, `roadshift rollback` and `roadshift reset`: what is served where."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import JsonValue
from rich.console import Console

from adaptation.cli.command_line import (
    Direct,
    Domain,
    Root,
    Server,
    Version,
    Why,
    checked_domain,
    console,
    explained,
    open_storage,
    plan_writer,
    say_served,
)
from adaptation.control.releases.deciding import GateRefused, Order, anchor_of_served, promote, reset, roll_back
from adaptation.control.releases.learner_calls import learner_at
from exchange.plan.plan_changes import DEFAULT
from exchange.registry import LedgerEntry, require_present
from exchange.registry.audit import user_at_host
from exchange.storage import StorageRoot


def promote_release(
    version: Version,
    root: Root,
    domain: Domain = None,
    source: Annotated[
        list[Path] | None, typer.Option(help="Labelled data for the gate; its val split is used.")
    ] = None,
    target: Annotated[Path | None, typer.Option(help="Frames of where it is to serve, for the gate.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Past the gate; --why must say why.")] = False,
    why: Why = "",
    server: Server = None,
    direct: Direct = False,
    run_dir: Annotated[Path, typer.Option(help="For copies of the releases.")] = Path("runs/releases"),
) -> None:
    """Serve a release that passes the gate; by a learner it becomes the candidate first, which the gateways try."""
    if force and not why.strip():
        raise typer.BadParameter("say why: who and why is in the audit", param_hint="--why")
    with explained():
        storage, order = open_storage(root), Order(user_at_host(), checked_domain(domain), why)
        entry = require_present(storage, version)
        details = {} if force else _gate(storage, entry, order.domain, (source or [], target), run_dir)
        if server is not None:
            with learner_at(server) as learner:
                told = learner.promote(version, domain=order.domain, by=order.who, why=why, force=force)
            typer.echo(f"release {version} is {'served' if force else 'the candidate'}: revision {told.plan_revision}")
            return
        with plan_writer(storage, order.who, direct) as lease:
            say_served(promote(storage, lease, version, order, forced=force, details=details), order.domain)


def rollback(
    root: Annotated[str | None, typer.Option(envvar="ROADSHIFT_ROOT", help="Or --server.")] = None,
    domain: Domain = None,
    server: Server = None,
    direct: Direct = False,
    why: Why = "",
) -> None:
    """Serve the previous release again, on all gateways at once: they have it loaded."""
    order = Order(user_at_host(), checked_domain(domain), why)
    if server is not None:
        with explained(), learner_at(server) as learner:
            told = learner.roll_back(domain=order.domain, by=order.who, why=why)
        typer.echo(f"{told.domain or DEFAULT} is served with release {told.serving}: revision {told.plan_revision}")
        return
    if root is None:
        raise typer.BadParameter("give --root, or --server of the learner", param_hint="--root")
    with explained():
        storage = open_storage(root)
        with plan_writer(storage, order.who, direct) as lease:
            say_served(roll_back(storage, lease, order), order.domain)


def reset_domain(
    root: Root, domain: Annotated[str, typer.Option()], server: Server = None, direct: Direct = False, why: Why = ""
) -> None:
    """Go back to the anchor: the release that all adaptation of what a domain is served with began with."""
    order = Order(user_at_host(), checked_domain(domain), why)
    with explained():
        storage = open_storage(root)
        if server is not None:
            anchor = anchor_of_served(storage, order.domain)
            with learner_at(server) as learner:
                reason = f"reset to the anchor{f': {why}' if why else ''}"
                told = learner.promote(anchor, domain=order.domain, by=order.who, why=reason, force=True)
            typer.echo(f"{domain} is served with release {told.serving}: revision {told.plan_revision}")
            return
        with plan_writer(storage, order.who, direct) as lease:
            say_served(reset(storage, lease, order), order.domain)


def _gate(
    storage: StorageRoot, entry: LedgerEntry, domain: str | None, data: tuple[list[Path], Path | None], run_dir: Path
) -> dict[str, JsonValue]:
    """Shows the verdict, and returns what the audit keeps of it. Raises GateRefused."""
    from adaptation.cli.release_gating import find_verdict
    from exchange.jobs.verdict import verdict_table

    def on_frame(what: str, done: int, total: int) -> None:
        console.print(f"{what}: {done} of {total}   ", end="\r")

    verdict = find_verdict(storage, entry, domain, *data, cache=run_dir, on_frame=on_frame)
    if verdict is None:
        return {"gate": "nothing is served yet that it could be compared with"}
    Console().print(verdict_table(verdict))
    if not verdict.passed:
        raise GateRefused(f"the gate refuses release {entry.version}: {'; '.join(verdict.reasons())}")
    return {"gate": verdict.model_dump(mode="json")}
