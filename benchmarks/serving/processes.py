"""Processes: our own children, and what /proc says about the CPU and the memory of a tree of them."""

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_STOP_TIMEOUT_S = 45.0
_TRITON = "tritonserver"
_ENGINE_LIBRARY = "libopenvino.so"

ROLES = ("gateway", "Triton", "engine")


@contextmanager
def child(command: Sequence[str | Path], log: Path) -> Iterator[subprocess.Popen[str]]:
    """A child in a session of its own, with its errors in a log; ended with all that it started."""
    with log.open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True)
    with process:
        try:
            yield process
        finally:
            ProcessTree(process.pid).go_on()  # else a paused one would not hear the next signal
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_TIMEOUT_S)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


class ProcessTree:
    """A process and its descendants as they are now, each with its role in serving.

    The role is told by what a process is: tritonserver; whatever has loaded the engine's library (Triton's stub, or
    LitServe's worker); everything else is the gateway's part.
    """

    def __init__(self, root_pid: int) -> None:
        self._role_of = {pid: _role(pid) for pid in _tree(root_pid)}
        self._ticks_of = dict.fromkeys(self._role_of, 0)

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds since each process began, by role; of one that has ended, until the last call."""
        total = dict.fromkeys(ROLES, 0.0)
        for pid, role in self._role_of.items():
            if stat := _read(pid, "stat"):
                user_ticks, system_ticks = stat.rpartition(")")[2].split()[11:13]
                self._ticks_of[pid] = int(user_ticks) + int(system_ticks)
            total[role] += self._ticks_of[pid] / _TICKS_PER_S
        return total

    def pause(self) -> None:
        """Takes the CPU from all of them until `go_on`: who is not measured must not slow down who is."""
        self._send(signal.SIGSTOP)

    def go_on(self) -> None:
        self._send(signal.SIGCONT)

    def _send(self, number: int) -> None:
        for pid in self._role_of:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def resident_bytes(self) -> int:
        return sum(int(statm.split()[1]) for pid in self._role_of if (statm := _read(pid, "statm"))) * _PAGE_BYTES


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*"):
        for descendant in _read(pid, f"task/{task.name}/children").split():
            yield from _tree(int(descendant))


def _role(pid: int) -> str:
    if _read(pid, "comm").strip() == _TRITON:
        return "Triton"
    return "engine" if _ENGINE_LIBRARY in _read(pid, "maps") else "gateway"


def _read(pid: int, name: str) -> str:
    """Empty where the process has ended."""
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
