"""`roadshift audit`: who did what."""

import json
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.console import Console

from adaptation.cli.command_line import AsJson, Root, explained, open_storage
from adaptation.control.releases.listing import audit_table
from exchange.registry.audit import read_audit


def audit(
    root: Root,
    days: Annotated[float, typer.Option(min=0, max=3650, help="How far back; 400 days are kept.")] = 7.0,
    as_json: AsJson = False,
) -> None:
    """Show who did what, when and why: rounds, releases, rollbacks, priors, triggers, erasures, labels."""
    with explained():
        entries = read_audit(open_storage(root), since=datetime.now(UTC) - timedelta(days=days))
    if as_json:
        typer.echo(json.dumps([entry.model_dump(mode="json") for entry in entries], indent=1))
    else:
        Console().print(audit_table(entries))
