"""The `roadshift` command: one line per command, each half's own module loaded only when it is called."""

import importlib

import click
import typer

# Names each command's module and attribute as strings, so that `roadshift segment` never loads torch.
COMMANDS = {
    "simulate": ("clients.cli", "simulate", "Drive through the simulated city and write labelled frames."),
    "train-source": ("adaptation.cli", "train_source", "Train a network on labelled source data."),
    "evaluate": ("adaptation.cli", "evaluate", "Score a network on labelled frames, class by class."),
    "import-checkpoint": ("adaptation.cli", "import_checkpoint", "Read an official HRDA checkpoint."),
    "export": ("adaptation.cli", "export", "Build a release: weights, engine and manifest."),
    "parity": ("adaptation.cli", "parity", "Compare a release's engine with the torch reference."),
}


class LazyGroup(click.Group):
    """Lists every command from COMMANDS and imports a command's module when it runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module_name, attribute, _ = COMMANDS[cmd_name]
        one_command = typer.Typer(add_completion=False, rich_markup_mode="markdown")
        one_command.command(cmd_name)(getattr(importlib.import_module(module_name), attribute))
        return typer.main.get_command(one_command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, _, summary) in COMMANDS.items()])


@click.group(cls=LazyGroup, help="Segmentation serving for driving fleets that keeps itself adapted.")
@click.version_option(package_name="roadshift")
def main() -> None:
    pass
