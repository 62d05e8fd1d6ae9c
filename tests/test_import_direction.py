"""Imports run one way: proto, exchange <- server, adaptation, clients; and only `adaptation.learning` loads torch."""

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HALVES = ("server", "adaptation", "clients")
_LEARNING, _CONTROL, _CONSOLE, _CLI = (f"adaptation.{part}" for part in ("learning", "control", "console", "cli"))
_OUTER = {"benchmarks", "tests", "cli"}
FORBIDDEN = {
    "exchange": {*HALVES, *_OUTER, "roadshift", "torch"},
    "server": {"adaptation", "clients", *_OUTER, "torch"},
    "adaptation": {"server", "clients", *_OUTER},
    "adaptation/learning": {_CONTROL, _CONSOLE, _CLI, "adaptation.assembly"},
    "adaptation/control": {_LEARNING, _CONSOLE, _CLI, "adaptation.assembly", "torch"},
    "adaptation/console": {_LEARNING, _CLI, "adaptation.assembly", "torch"},
    "clients": {"server", "adaptation", *_OUTER, "torch"},
    "model_repository": {*HALVES, "exchange", *_OUTER, "roadshift"},
}
"""By folder: packages and modules that nothing in it may import."""
WITHOUT_TORCH = ("exchange", "server", "clients", "adaptation.control", "adaptation.console")
HEAVY = ("torch", "onnx", "openvino")


def imported_modules(path: Path, *, anywhere: bool = True) -> Iterator[str]:
    """Yield the modules that a file imports, with each name taken from them; in functions, too, or at its top alone."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree) if anywhere else tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(module: str, packages: Iterable[str]) -> bool:
    return any(f"{module}.".startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_no_file_imports_against_the_direction(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files or folder == "model_repository"
    # The Python-backend host loads torch for a torch release; it belongs to neither half.
    offences = {
        f"{path.relative_to(ROOT)} imports {module}"
        for path in files
        for module in imported_modules(path)
        if within(module, FORBIDDEN[folder])
    }
    assert not offences


def test_no_two_folders_import_one_another() -> None:
    """In a cycle neither folder can be read or used without the other. Files directly in a part count by themselves."""
    files = {_name(path): path for top in ("exchange", *HALVES) for path in (ROOT / top).rglob("*.py")}
    needs: dict[str, set[str]] = {}
    for path in files.values():
        for module in imported_modules(path, anywhere=False):
            target = files.get(module) or files.get(module.rpartition(".")[0])
            if target is not None and target.name != "__init__.py" and _folder(target) != _folder(path):
                needs.setdefault(_folder(path), set()).add(_folder(target))
    while leaves := {folder for folders in needs.values() for folder in folders if folder not in needs} | {
        folder for folder, folders in needs.items() if not folders
    }:
        needs = {folder: folders - leaves for folder, folders in needs.items() if folder not in leaves}
    assert not needs


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _folder(path: Path) -> str:
    """Return the folder that a file is of; a file directly in one of the parts is itself."""
    relative = path.relative_to(ROOT)
    return str(relative if len(relative.parts) == 2 else relative.parent)


def test_only_learning_loads_torch() -> None:
    """Every other module is imported in one fresh process."""
    code = (
        "import importlib, pkgutil, sys\n"
        f"for top in {WITHOUT_TORCH!r}:\n"
        "    package = importlib.import_module(top)\n"
        "    for module in pkgutil.walk_packages(package.__path__, top + '.'):\n"
        "        importlib.import_module(module.name)\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])\n"
    )
    assert _printed(code) == "[]"


def test_a_learner_starts_without_torch_and_without_a_web_server() -> None:
    heavy = (*HEAVY, "nicegui")
    code = f"import sys, adaptation.cli.learner_commands\nprint([m for m in {heavy!r} if m in sys.modules])\n"
    assert _printed(code) == "[]"


def test_the_command_line_starts_without_either_half() -> None:
    """`roadshift --help` must be quick on a vehicle's computer that has no torch."""
    code = (
        "import sys, cli, typer.testing\n"
        "result = typer.testing.CliRunner().invoke(cli.app_for([]), ['--help'])\n"
        "assert result.exit_code == 0, result.output\n"
        "print([m for m in ('torch', 'openvino', 'server', 'adaptation', 'clients') if m in sys.modules])\n"
    )
    assert _printed(code) == "[]"


def _printed(code: str) -> str:
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return answer.stdout.strip()
