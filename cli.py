"""The `roadshift` command: one line per command, each half's own module loaded only when its command is called."""

import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version as installed_version
from typing import Annotated

import typer

from exchange.usable_cpus import keep_openmp_within_quota

# Names each command's module and attribute as strings, so that `roadshift segment` never loads torch.
COMMANDS = {
    "serve": ("server.cli", "serve", "Serve frames over gRPC."),
    "status": ("clients.cli", "status", "Ask a gateway or a learner how it is."),
    "segment": ("clients.cli", "segment", "Label image files and write maps and overlays."),
    "fleet": ("clients.cli", "fleet", "Drive simulated vehicles against a gateway."),
    "demo": ("clients.demo_cli", "demo", "The whole story: a simulated fleet is served and adapted to dusk."),
    "simulate": ("clients.cli", "simulate", "Drive through the simulated city and write labelled frames."),
    "train-source": ("adaptation.cli.learning_commands", "train_source", "Train a network on labelled source data."),
    "evaluate": ("adaptation.cli.learning_commands", "evaluate", "Score a network on labelled frames, class by class."),
    "adapt": ("adaptation.cli.learning_commands", "adapt", "Adapt a network to a folder of unlabelled frames."),
    "select-regions": (
        "adaptation.cli.region_commands",
        "select_regions",
        "Ask people for the labels that teach most.",
    ),
    "import-checkpoint": ("adaptation.cli.learning_commands", "import_checkpoint", "Read an official HRDA checkpoint."),
    "export": ("adaptation.cli.export_commands", "export", "Build a release: weights, engine and manifest."),
    "round": ("clients.operations_cli", "round_commands", "Start, watch and cancel rounds of adaptation."),
    "trigger": ("clients.operations_cli", "trigger_commands", "When rounds start by themselves."),
    "labels": ("clients.annotation_cli", "label_commands", "Regions that people label: ask, progress, out and back."),
    "learner": ("adaptation.cli.learner_commands", "learner", "Keep a fleet adapted: priors, rounds, rollouts."),
    "prior": (
        "adaptation.cli.prior_commands",
        "prior",
        "Show, freeze or reset the domains' live priors.",
    ),
    "release": (
        "adaptation.cli.release_commands",
        "release",
        "Add, list, promote, pin and collect a root's releases.",
    ),
    "audit": ("adaptation.cli.audit_command", "audit", "Show who did what, when and why."),
    "rollback": ("adaptation.cli.plan_commands", "rollback", "Serve the previous release again."),
    "reset": (
        "adaptation.cli.plan_commands",
        "reset_domain",
        "Go back to the release that adaptation began with.",
    ),
    "repair": (
        "adaptation.cli.repair_command",
        "repair",
        "Write anew what a root cannot go on without, where it is damaged: lease, ledger, triggers, pins, plan.",
    ),
    "erase": ("adaptation.cli.erase_command", "erase", "Erase one vehicle's frames from a storage root."),
    "parity": ("adaptation.cli.export_commands", "parity", "Compare a release's engine with the torch reference."),
    "gate": ("adaptation.cli.gate_commands", "gate", "Say whether a release may take another one's place."),
}

_TRAININGS = ("train-source", "adapt")


def app_for(arguments: Sequence[str]) -> typer.Typer:
    """The app with every command listed, and only the one that the arguments name imported."""
    app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode="markdown")
    app.callback()(_root)
    called = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name, (module_name, attribute, summary) in COMMANDS.items():
        command = _load(module_name, attribute) if name == called else _only_listed
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name, short_help=summary)
        else:
            app.command(name, short_help=summary)(command)
    return app


def _load(module_name: str, attribute: str) -> Callable[..., None] | typer.Typer:
    """A command, or a group of them."""
    try:
        command: Callable[..., None] | typer.Typer = getattr(importlib.import_module(module_name), attribute)
    except ModuleNotFoundError as error:
        remedy = "run make setup, or pip install -e '.[server,adaptation]'"
        raise SystemExit(f"error: the Python package {error.name} is not installed: {remedy}") from error
    return command


def main() -> None:
    if set(sys.argv[1:2]) & set(_TRAININGS):
        from adaptation.learning.kept_memory import keep_freed_memory

        keep_freed_memory()
    keep_openmp_within_quota()
    try:
        app_for(sys.argv[1:])()
    except OSError as error:
        if error.filename is None:
            raise
        raise SystemExit(f"error: {error.filename}: {error.strerror}") from error  # a file that its user named


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"roadshift {installed_version('roadshift')}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    """Segmentation serving for driving fleets that keeps itself adapted."""


def _only_listed() -> None:
    """Stands in for a command that was not called."""
