"""The processes that Triton's Python backend starts, one or two per loaded version, seen from outside.

Triton calls a version ready though a process of it is gone, and takes a second to find out at each request. The kernel
tells at once.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from server.triton.installation import STUB_NAME


@dataclass(frozen=True)
class Stub:
    pid: int
    version: int
    region: str
    """Its region's name in /dev/shm."""


def find_stubs(session_id: int) -> list[Stub]:
    """The living stubs of a session; Triton names the model's file and the region in their command line."""
    stubs = []
    for process in _processes_of_session(session_id):
        with contextlib.suppress(OSError):  # it has just ended
            program, *arguments = (process / "cmdline").read_text().split("\0")
            if Path(program).name == STUB_NAME:
                stubs.append(Stub(int(process.name), int(Path(arguments[0]).parent.name), arguments[1]))
    return stubs


class DeathWatch:
    """Calls back, in the event loop, when one of the processes that it was given ends."""

    def __init__(self, on_death: Callable[[], None]) -> None:
        self._on_death = on_death
        self._descriptors: dict[int, int] = {}

    def add(self, pid: int) -> None:
        if pid in self._descriptors:
            return
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            self._on_death()
            return
        self._descriptors[pid] = descriptor
        asyncio.get_running_loop().add_reader(descriptor, self._report, pid)

    def close(self) -> None:
        for pid in list(self._descriptors):
            self._remove(pid)

    def _report(self, pid: int) -> None:
        self._remove(pid)
        self._on_death()

    def _remove(self, pid: int) -> None:
        descriptor = self._descriptors.pop(pid)
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)


def _processes_of_session(session_id: int) -> list[Path]:
    """/proc folders of every process of a session that still runs."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # Fields after the name, which stands in parentheses and may hold anything: state, parent, group, session.
            state, _, _, session, *_ = stat.read_text().rpartition(")")[2].split()
            if int(session) == session_id and state not in "ZX":
                found.append(stat.parent)
    return found
