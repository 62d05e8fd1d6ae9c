"""`roadshift release`: add, list, show, promote, pin, gc."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from adaptation.cli.command_line import (
    AsJson,
    Root,
    Version,
    Why,
    console,
    explained,
    open_storage,
    plan_writer,
)
from adaptation.cli.plan_commands import promote_release
from adaptation.control.releases.collecting import KEEP_LAST, collect, find_rubbish
from adaptation.control.releases.listing import (
    list_releases,
    release_table,
    releases_table,
    rubbish_json,
    rubbish_table,
)
from exchange.registry import read_ledger, read_published_manifest, require_present
from exchange.registry.audit import AuditEntry, audited, user_at_host
from exchange.registry.pins import set_pin

release = typer.Typer(no_args_is_help=True, help="Add, list, promote, pin and collect a root's releases.")
release.command("promote")(promote_release)


@release.command()
def add(
    folder: Annotated[Path, typer.Argument(help="A release's folder, as roadshift export and adapt leave it.")],
    root: Root,
    frames: Annotated[
        Path | None, typer.Option(help="Images to compare engine and weights on, instead of the built-in ones.")
    ] = None,
    parent: Annotated[int | None, typer.Option(min=1, help="The version that it was learned from.")] = None,
    why: Why = "",
) -> None:
    """Publish a release, if its engine computes what its weights say. Nothing serves it yet."""
    from adaptation.cli.export_commands import parity_table  # these load torch, which the other commands do without
    from adaptation.cli.release_adding import ParityFailed, add_release

    with explained():
        try:
            entry, parity = add_release(
                open_storage(root, may_be_new=True),
                folder,
                who=user_at_host(),
                why=why,
                parent=parent,
                frames=frames,
                on_frame=lambda done: console.print(f"compared on {done} frames", end="\r"),
            )
        except ParityFailed as failed:
            Console().print(parity_table(failed.parity))
            raise
    Console().print(parity_table(parity))
    typer.echo(f"release {entry.version} is published; roadshift release promote {entry.version} serves it")


@release.command("list")
def list_them(root: Root, as_json: AsJson = False) -> None:
    """List the releases, and what each is to whom."""
    with explained():
        rows = list_releases(open_storage(root))
    if as_json:
        typer.echo(json.dumps([row.model_dump(mode="json") for row in rows], indent=1))
    elif rows:
        Console().print(releases_table(rows))
    else:
        typer.echo("no releases yet: roadshift release add DIR publishes the first one")


@release.command()
def show(version: Version, root: Root, as_json: AsJson = False) -> None:
    """Show one release: where it came from, what it is, and what it is to whom."""
    with explained():
        storage = open_storage(root)
        manifest = read_published_manifest(storage, version)
        entry = next(entry for entry in read_ledger(storage) if entry.version == version)
        row = next(row for row in list_releases(storage) if row.version == version)
    if as_json:
        told = {"release": row.model_dump(mode="json"), "manifest": manifest.model_dump(mode="json")}
        typer.echo(json.dumps(told, indent=1))
    else:
        Console().print(release_table(entry, manifest, row))


@release.command()
def pin(
    version: Version, root: Root, off: Annotated[bool, typer.Option("--off", help="Let it go.")] = False, why: Why = ""
) -> None:
    """Keep a release, whatever the plan names: gc never collects it."""
    with explained():
        storage = open_storage(root)
        require_present(storage, version)
        what = "unpin" if off else "pin"
        with audited(storage, AuditEntry(who=user_at_host(), what=what, version=version, why=why)):
            pinned = set_pin(storage, version, pinned=not off)
    typer.echo(f"pinned: {', '.join(map(str, pinned)) or 'none'}")


@release.command()
def gc(
    root: Root,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go, and delete nothing.")] = False,
    keep_last: Annotated[int, typer.Option(min=1, help="Newest releases that stay in any case.")] = KEEP_LAST,
    why: Why = "",
    as_json: AsJson = False,
) -> None:
    """Delete what nobody needs: old releases, publications that were cut off, old rounds, presence rows and audit."""
    with explained():
        storage, who = open_storage(root), user_at_host()
        if dry_run:
            rubbish, title = find_rubbish(storage, keep_last=keep_last), "would be deleted"
        else:
            with plan_writer(
                storage, who, direct=False, instead="leave it to the learner: it collects hourly"
            ) as lease:
                rubbish = collect(storage, lease, who=who, why=why, keep_last=keep_last)
            title = "deleted"
    if as_json:
        typer.echo(json.dumps([rubbish_json(each) for each in rubbish], indent=1))
    elif rubbish:
        Console().print(rubbish_table(rubbish, title))
    else:
        typer.echo("nothing to delete")
