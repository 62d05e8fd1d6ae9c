"""Imports run one way: proto, exchange <- server, adaptation, clients; and serving never loads torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HALVES = ("server", "adaptation", "clients")
FORBIDDEN = {
    "exchange": {*HALVES, "benchmarks", "tests", "cli", "roadshift", "torch"},
    "server": {"adaptation", "clients", "benchmarks", "tests", "cli", "torch"},
    "adaptation": {"server", "clients", "benchmarks", "tests", "cli"},
    "clients": {"server", "adaptation", "benchmarks", "tests", "cli", "torch"},
    "model_repository": {*HALVES, "exchange", "benchmarks", "tests", "cli", "roadshift"},
}


def imported_packages(path: Path) -> set[str]:
    """The top-level packages that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_no_file_imports_against_the_direction(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files or folder == "model_repository"
    # The Python-backend host loads torch for a torch release; it belongs to neither half.
    offences = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files
        for name in imported_packages(path) & FORBIDDEN[folder]
    }
    assert not offences


def test_the_command_line_starts_without_either_half() -> None:
    """`roadshift --help` must be quick on a vehicle's computer that has no torch."""
    code = (
        "import sys, cli, typer.testing\n"
        "result = typer.testing.CliRunner().invoke(cli.app_for([]), ['--help'])\n"
        "assert result.exit_code == 0, result.output\n"
        "print([m for m in ('torch', 'openvino', 'server', 'adaptation', 'clients') if m in sys.modules])\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
