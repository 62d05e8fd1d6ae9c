"""External programs and files that tests use, and the Debian packages that `make setup-system` installs for them."""

import shutil
from pathlib import Path
from types import MappingProxyType

import pytest

PACKAGES = MappingProxyType(
    {
        "protoc": "protobuf-compiler",
        "/usr/include/google/protobuf/timestamp.proto": "libprotobuf-dev",  # protoc's includes
        "grpc_cpp_plugin": "protobuf-compiler-grpc",
        "chromium": "chromium",
        "/usr/lib/x86_64-linux-gnu/libatomic.so.1": "libatomic1",  # the driver that Playwright brings
        "prometheus": "prometheus",
        "promtool": "prometheus",
        "prometheus-alertmanager": "prometheus-alertmanager",
        "amtool": "prometheus-alertmanager",
    }
)
"""Package of each program, or of each file by its absolute path."""

ESSENTIAL = frozenset({"bash", "sh", "unshare"})
"""Programs of Debian's essential packages, which every system has."""


def missing(*names: str) -> list[str]:
    """Return those of the programs and files that this machine lacks."""
    return [name for name in names if not (Path(name).exists() if name.startswith("/") else shutil.which(name))]


def reason(lacking: list[str]) -> str:
    """Sentence that names what is missing and the make target that installs it."""
    return f"missing: {', '.join(f'{name} ({PACKAGES[name]})' for name in lacking)}: make setup-system"


def needs(*names: str) -> pytest.MarkDecorator:
    """Mark that skips a test where one of the programs or files is missing."""
    lacking = missing(*names)
    return pytest.mark.skipif(bool(lacking), reason=reason(lacking))


def require(*names: str) -> None:
    """Skip the test, or the tests of a fixture, where one of the programs or files is missing."""
    if lacking := missing(*names):
        pytest.skip(reason(lacking))
