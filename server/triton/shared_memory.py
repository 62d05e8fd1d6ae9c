"""System shared memory between the gateway and its Triton, and who owns which region of it.

Every region of one gateway, its Triton's Python backend included, has a name that begins with one prefix. The prefix
belongs to whoever holds the lock on `<prefix>lock`, which the kernel releases however the owner ends: that tells the
regions of the dead from those of the living, also between containers, where every gateway may have the same pid.
"""

import contextlib
import fcntl
import mmap
import os
import re
import secrets
import shutil
from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from server.triton.installation import TritonSetupError

SHM_DIR = Path("/dev/shm")  # noqa: S108
FAMILY = "roadshift-"
_LOCK_SUFFIX = "lock"
_PLAIN = re.compile(r"[A-Za-z0-9/._+@-]{1,1024}")


class RegionOwner:
    """Owns a prefix of names in /dev/shm, after removing what dead owners left there."""

    def __init__(self) -> None:
        remove_regions_of_the_dead()
        self.prefix, self._lock_fd = _claim_prefix()
        self.private_dir = SHM_DIR / f"{self.prefix}private"
        """A folder for this user alone, with a path short enough for a socket wherever the gateway runs."""
        self.private_dir.mkdir(mode=0o700)

    @property
    def stub_prefix(self) -> str:
        """For the regions that Triton's Python backend makes between itself and its stubs."""
        return f"{self.prefix}stub-"

    def plain_path(self, name: str, target: Path) -> Path:
        """Returns a path of plain letters to `target`: its own, or a link by this name that is gone at `close`.

        Triton's Python backend starts its stub by a line of shell in which no path is quoted, the stub reads paths as
        ASCII, and the loader's list of folders knows no quotes either.
        """
        path = target.absolute()
        if is_plain(path):
            return path
        link = self.private_dir / name
        link.symlink_to(path)
        return link

    def remove_stub_regions(self, *, except_for: Collection[str] = ()) -> None:
        """Removes the backend's regions: a killed stub or server leaves its own behind."""
        for path in SHM_DIR.glob(f"{self.stub_prefix}*"):
            if path.name not in except_for:
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Removes every region of the prefix."""
        _remove_prefix(self.prefix)
        os.close(self._lock_fd)


def is_plain(path: Path) -> bool:
    """Whether Triton can start a version from there: letters, digits, and no mark that means anything to a shell."""
    return _PLAIN.fullmatch(str(path)) is not None


def _claim_prefix() -> tuple[str, int]:
    while True:
        prefix = f"{FAMILY}{os.getpid()}-{secrets.token_hex(4)}-"
        lock_path = SHM_DIR / f"{prefix}{_LOCK_SUFFIX}"
        lock_fd = os.open(lock_path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock_fd, fcntl.LOCK_EX)
        if lock_path.exists():
            return prefix, lock_fd
        os.close(lock_fd)  # another start took the file for a dead owner's between its creation and the lock


def remove_regions_of_the_dead() -> None:
    """Removes the regions of every owner whose lock is free."""
    for lock_path in SHM_DIR.glob(f"{FAMILY}*-{_LOCK_SUFFIX}"):
        try:
            lock_fd = os.open(lock_path, os.O_RDWR | os.O_CLOEXEC)
        except (FileNotFoundError, PermissionError):  # another has just removed it; another user's
            continue
        try:
            fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove_prefix(lock_path.name.removesuffix(_LOCK_SUFFIX))
        except BlockingIOError:  # its owner lives
            pass
        finally:
            os.close(lock_fd)


def _remove_prefix(prefix: str) -> None:
    lock_path = SHM_DIR / f"{prefix}{_LOCK_SUFFIX}"
    for path in SHM_DIR.glob(f"{prefix}*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path != lock_path:
            path.unlink(missing_ok=True)
    lock_path.unlink(missing_ok=True)  # last: without it nobody would find the others


class Region:
    """One shared memory region; its pages are reserved at once: a full /dev/shm fails here, not amid a frame."""

    def __init__(self, name: str, size_bytes: int) -> None:
        self.name = name
        self.size_bytes = size_bytes
        self._path = SHM_DIR / name
        descriptor = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, size_bytes)
            self._memory = mmap.mmap(descriptor, size_bytes)
        except OSError as error:
            self._path.unlink()
            raise TritonSetupError(no_space_message(size_bytes)) from error
        finally:
            os.close(descriptor)

    def view(self, dtype: type[np.generic], shape: tuple[int, ...], offset: int) -> NDArray[np.generic]:
        array: NDArray[np.generic] = np.ndarray(shape, dtype, self._memory, offset)
        return array

    def close(self) -> None:
        self._path.unlink(missing_ok=True)
        with contextlib.suppress(BufferError):  # a view is still held: the memory goes when the view does
            self._memory.close()


def check_free_space(needed_bytes: int) -> None:
    """Raises TritonSetupError if /dev/shm cannot take `needed_bytes` more."""
    if shutil.disk_usage(SHM_DIR).free < needed_bytes:
        raise TritonSetupError(no_space_message(needed_bytes))


def no_space_message(needed_bytes: int) -> str:
    free_bytes = shutil.disk_usage(SHM_DIR).free
    return (
        f"{SHM_DIR} has {free_bytes >> 20} MiB free and {-(-needed_bytes >> 20)} MiB are needed: "
        f"free some, or give it more (docker run --shm-size=1g)"
    )
