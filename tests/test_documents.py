"""Commands that documents name exist: make's targets, `roadshift` with its groups, and modules that Python runs."""

import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

import cli

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted(
    path
    for path in ROOT.rglob("*.md")
    if path.name != "CHANGELOG.md" and not {".venv", "runs"} & set(path.relative_to(ROOT).parts)
)
"""All but the changelog, which names what there was, too."""
_CODE = re.compile(r"```[^\n]*\n(.*?)```|`([^`\n]+)`", re.DOTALL)
_MAKE = re.compile(r"(?:^|[;&|]|\btime)\s*make ((?:[a-z0-9-]+ ?)+)", re.MULTILINE)
_ROADSHIFT = re.compile(r"(?<![\w./-])roadshift ((?:[a-z][a-z-]+ ?)+)")
_MODULE = re.compile(r"python -m ((?:benchmarks|tests|adaptation)(?:\.[a-z_]+)+)(?![\w.])")


def code_of(document: Path) -> list[str]:
    """Return the code in a document: between fences, between backquotes, and indented by four."""
    text = document.read_text()
    indented = re.findall(r"^ {4}(\S.*)$", text, re.MULTILINE)
    return [fenced or inline for fenced, inline in _CODE.findall(text)] + indented


def named(pattern: re.Pattern[str]) -> dict[str, Path]:
    """Return each command that the pattern finds, with a document that names it."""
    return {
        found.strip(): document
        for document in DOCUMENTS
        for code in code_of(document)
        for found in pattern.findall(code)
    }


def test_every_target_of_make_is_there() -> None:
    targets = named(_MAKE)
    assert {"demo", "test"} <= {target for words in targets for target in words.split()}
    for words, document in targets.items():
        ran = subprocess.run(["make", "-n", *words.split()], cwd=ROOT, capture_output=True, text=True)
        assert ran.returncode == 0, f"{document.relative_to(ROOT)} names make {words}: {ran.stderr}"


@cache
def commands_of(name: str) -> frozenset[str]:
    """Return the commands of a group; nothing for a command of its own."""
    group: Any = typer.main.get_command(cli.app_for([name]))
    return frozenset(getattr(group.commands[name], "commands", ()))


@pytest.mark.parametrize("words", named(_ROADSHIFT))
def test_every_command_is_there(words: str) -> None:
    """The first word is a command; of a group of commands the second is one, too."""
    first, *rest = words.split()
    assert first in cli.COMMANDS
    commands = commands_of(first)
    assert not (commands and rest) or rest[0] in commands


@pytest.mark.parametrize("module", named(_MODULE))
def test_every_module_is_there(module: str) -> None:
    path = ROOT / module.replace(".", "/")
    assert (path / "__main__.py").is_file() or path.with_suffix(".py").is_file()
