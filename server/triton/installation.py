"""The parts of the `nvidia-pytriton` wheel that make a tritonserver, and the environment that they need."""

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from server.cannot_load import CannotLoad

PYTHON_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
STUB_NAME = "triton_python_backend_stub"


class TritonSetupError(CannotLoad):
    """Triton cannot run on this machine as it is; the message is one line that says what to change."""


@dataclass(frozen=True)
class TritonInstallation:
    """Where the wheel keeps the server, the Python backend and the stub of the running Python."""

    server: Path
    python_backend: Path
    stub: Path
    libraries: tuple[Path, ...]
    """Folders: the wheel's, and the running Python's own if it has a shared libpython."""
    python: Path
    """Folder of the running Python's executable."""

    def by_plain_paths(self, plain_path: Callable[[str, Path], Path]) -> Self:
        """The same one, whatever letters its own path has; `plain_path` makes links (`RegionOwner`)."""
        prefix = plain_path("python", self.python.parent)  # what belongs to an executable lies above its folder
        return replace(
            self,
            libraries=tuple(plain_path(f"libraries-{index}", path) for index, path in enumerate(self.libraries)),
            python=prefix / self.python.name,
        )

    def copy_python_backend(self, backends_dir: Path) -> None:
        """Makes `backends_dir`/python: the backend with the stub of the running Python beside it, as Triton wants it.

        Raises:
            TritonSetupError: a library that the stub needs is missing.
        """
        target = backends_dir / "python"
        target.mkdir(parents=True)
        for name in ("libtriton_python.so", "triton_python_backend_utils.py"):
            shutil.copy(self.python_backend / name, target)
        stub = shutil.copy(self.stub, target)
        self._check_libraries(Path(stub))

    def environment(self) -> dict[str, str]:
        """The server's environment: the wheel's libraries, and this Python's packages for the stub.

        The stub ignores every PYTHON variable; it takes its packages from beside the first `python3` on the PATH.
        """
        path = f"{self.python}:{os.environ.get('PATH', os.defpath)}"
        return {**os.environ, "PATH": path, "LD_LIBRARY_PATH": ":".join(map(str, self.libraries))}

    def _check_libraries(self, stub: Path) -> None:
        # With this variable the dynamic loader lists the libraries and ends: what ldd does.
        environment = self.environment() | {"LD_TRACE_LOADED_OBJECTS": "1"}
        listing = subprocess.run([stub], env=environment, capture_output=True, text=True, check=False)  # noqa: S603
        missing = [line.split()[0] for line in listing.stdout.splitlines() if "not found" in line]
        if missing:
            raise TritonSetupError(
                f"{missing[0]} is missing for Triton's Python {PYTHON_VERSION}: install it "
                f"(Debian: apt-get install libpython{PYTHON_VERSION})"
            )


def find_installation(python_version: str = PYTHON_VERSION) -> TritonInstallation:
    """Finds the wheel, without importing it, and its stub for a version of Python.

    Raises:
        TritonSetupError: the wheel is not installed, or has no such stub.
    """
    spec = importlib.util.find_spec("pytriton")
    if spec is None or spec.origin is None:
        raise TritonSetupError("nvidia-pytriton is not installed: run make setup, or pip install -e '.[server]'")
    package = Path(spec.origin).parent
    root = package / "tritonserver"
    stubs = root / "python_backend_stubs"
    stub = stubs / python_version / STUB_NAME
    if not stub.exists():
        available = ", ".join(sorted((path.name for path in stubs.iterdir()), key=lambda name: int(name.split(".")[1])))
        raise TritonSetupError(f"nvidia-pytriton has no stub for Python {python_version}: run one of {available}")
    return TritonInstallation(
        server=root / "bin" / "tritonserver",
        python_backend=root / "backends" / "python",
        stub=stub,
        libraries=(package.parent / "nvidia_pytriton.libs", *_folders_of_own_libpython()),
        python=Path(sys.executable).parent,
    )


def _folders_of_own_libpython() -> list[Path]:
    """The running Python's own library folder if it has a shared libpython; else the loader looks for the system's."""
    folder = Path(sysconfig.get_config_var("LIBDIR"))
    return [folder] if (folder / f"libpython{PYTHON_VERSION}.so.1.0").exists() else []
