"""What `roadshift serve` says to try next works when it is copied into a shell."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ipv6 import needs_ipv6
from tests.tls_files import TlsFiles

ROADSHIFT = Path(sys.executable).with_name("roadshift")


@contextmanager
def announced(*options: str | Path, cwd: Path) -> Iterator[list[str]]:
    """The lines that a gateway prints once it serves; it runs meanwhile."""
    command = [ROADSHIFT, "serve", "--fake", "--listen", "127.0.0.1:0", *options]
    with subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            lines = []
            while not lines or "Ctrl-C" not in lines[-1]:
                lines.append(process.stdout.readline().rstrip())
                assert process.poll() is None
            yield lines
        finally:
            process.kill()


def run_by_shell(lines: list[str], folder: Path) -> str:
    """What all commands print; the first that fails ends them."""
    script = "\n".join(["set -e", *lines])
    # Someone at a terminal has a screen's width; 2>&1 for the errors to be seen here.
    ended = subprocess.run(
        ["bash"], input=script, cwd=folder, env={**os.environ, "COLUMNS": "150"}, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


def test_every_line_can_be_copied(tmp_path: Path) -> None:
    with announced("--metrics", "127.0.0.1:0", cwd=tmp_path) as lines:
        hurried = [f"{line} --frames 2 --size 64x128" if " fleet " in line else line for line in lines[3:]]
        printed = run_by_shell(hurried, tmp_path)
    assert "SERVING" in printed
    assert "roadshift_version_serving" in printed
    assert len(list((tmp_path / "runs/fleet").glob("sim-day-*.png"))) == 4
    assert len(list((tmp_path / "runs/labels").glob("*.overlay.jpg"))) == 2


@needs_ipv6
@pytest.mark.parametrize("host", ["[::1]", "[::]"])
def test_addresses_of_ipv6_can_be_copied_too(tmp_path: Path, host: str) -> None:
    everywhere = f"{host}:0"
    with announced("--listen", everywhere, "--metrics", everywhere, "--insecure", cwd=tmp_path) as lines:
        ask = [line for line in lines if " status " in line or line.startswith("curl ")]
        assert len(ask) == 2
        printed = run_by_shell(ask, tmp_path)
    assert "SERVING" in printed
    assert "roadshift_version_serving" in printed


def test_with_tls_and_roles_the_callers_files_and_token_are_asked_for_and_no_secret_is_told(tmp_path: Path) -> None:
    files = TlsFiles(tmp_path)
    certificate, key = files.issue("car@example.org", "vehicle:car-17")
    (tmp_path / "tokens").write_text("vehicle very-secret\n")
    options = ["--tls-certificate", files.certificate, "--tls-key", files.key, "--tls-client-ca", files.ca]
    with announced(*options, "--token-file", "tokens", "--metrics", "", cwd=tmp_path) as lines:
        text = "\n".join(lines[2:])
        assert "very-secret" not in text
        assert "curl" not in text
        for name, value in {"AUTHORITY.pem": files.ca, "CAR.pem": certificate, "CAR.key": key}.items():
            text = text.replace(f"={name}", f"={value}")
        text = text.replace("TOKEN=TOKEN", "TOKEN=very-secret")
        wanted = [line for line in text.splitlines() if line.startswith("export") or " status " in line]
        assert "SERVING" in run_by_shell(wanted, tmp_path)
