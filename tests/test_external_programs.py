"""Everything that tests need and no Python package brings is named in one list, installed by one make target."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.external_programs import ESSENTIAL, FROM_PYTHON, PACKAGES, missing, reason

ROOT = Path(__file__).parent.parent


def test_this_machine_has_what_tests_use() -> None:
    lacking = missing(*PACKAGES)
    assert not lacking, reason(lacking)


def test_make_setup_system_installs_every_package() -> None:
    (line,) = re.findall(r"^DEBIAN_PACKAGES := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert sorted(line.split()) == sorted(set(PACKAGES.values()))


def test_tests_run_no_program_that_is_not_listed() -> None:
    files = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    named = {program for file in files for program in programs(ast.parse(file.read_text()))}
    assert named >= {"bash", "promtool", "unshare", "chromium"}
    assert named <= {*PACKAGES, *ESSENTIAL, *FROM_PYTHON}


def programs(tree: ast.Module) -> Iterator[str]:
    """Yield the names of programs that a file runs or looks for, where they are written out."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args):
        place = ast.unparse(call.func)
        if place.startswith("subprocess.") or place in {"shutil.which", "asyncio.create_subprocess_exec"}:
            first = call.args[0]
            first = first.elts[0] if isinstance(first, ast.List | ast.Tuple) and first.elts else first
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value
