"""External programs and files that tests use, and the Debian packages that `make setup-system` installs for them."""

import ctypes
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
        "curl": "curl",  # a line that `serve` says to try
        "libatomic.so.1": "libatomic1",  # the driver that Playwright brings
        "libpython3.11.so.1.0": "libpython3.11",  # Triton's stub, where Python itself is linked without it
        "prometheus": "prometheus",
        "promtool": "prometheus",
        "prometheus-alertmanager": "prometheus-alertmanager",
        "amtool": "prometheus-alertmanager",
    }
)
"""Package of each program, of each library, and of each file by its absolute path."""

ESSENTIAL = frozenset({"bash", "make", "sh", "unshare"})
"""Programs of Debian's essential packages, which every system has, and the one that runs the tests."""
FROM_PYTHON = frozenset({"weed"})
"""Programs that Python packages bring: pyproject.toml names these."""


def missing(*names: str) -> list[str]:
    """Return those of the programs, libraries and files that this machine lacks."""
    return [name for name in names if not _is_there(name)]


def _is_there(name: str) -> bool:
    if name.startswith("/"):
        return Path(name).exists()
    if ".so." in name:
        try:
            ctypes.CDLL(name)
        except OSError:
            return False
        return True
    return shutil.which(name) is not None


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
