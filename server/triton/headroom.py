"""Whether this machine's memory can take one more version, before it is tried: the loser of a shortage is whoever the
kernel picks, and that may be the version that serves.
"""

from pathlib import Path

from server.triton.installation import TritonSetupError

PROCESS_BYTES = 120 << 20
"""What a process of a version takes whatever its engine: Python, and the engine's library."""
COMPILED_BYTES = 200 << 20
"""What each compilation of its engine takes whatever the size: the values between layers."""
FOR_EACH_ENGINE_BYTE = 4
"""The starter's 13 MB of engine make a process of 360 MB; weights are read, laid out anew, and for a moment both."""

_CGROUPS = (
    ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""Version 2 and 1: the folder, the limit, what is used, and the name of what of that is cache, and given up at need."""


def check_memory(engine_dir: Path, processes: int, system: Path = Path("/")) -> None:
    """Raises TritonSetupError where the engine's files say that it will not fit.

    Args:
        processes: of a version; where there are several, each compiles the engine twice.
        system: holds proc and sys.
    """
    engine_bytes = sum(path.stat().st_size for path in engine_dir.rglob("*") if path.is_file())
    compiled_bytes = COMPILED_BYTES + FOR_EACH_ENGINE_BYTE * engine_bytes
    needed_bytes = processes * (PROCESS_BYTES + min(processes, 2) * compiled_bytes)
    available_bytes = available_memory_bytes(system)
    if available_bytes < needed_bytes:
        raise TritonSetupError(
            f"{available_bytes >> 20} MiB of memory are available, and about {needed_bytes >> 20} are needed for one "
            "more version: free some, or give this gateway more"
        )


def available_memory_bytes(system: Path = Path("/")) -> int:
    """Of the machine, or of the container where that has less."""
    available_bytes = _numbers(system / "proc/meminfo")["MemAvailable:"] << 10
    for folder, limit, used, cache in _CGROUPS:
        cgroup = system / folder
        try:
            used_bytes = int((cgroup / used).read_text()) - _numbers(cgroup / "memory.stat")[cache]
            left_bytes = int((cgroup / limit).read_text()) - used_bytes
        except (OSError, ValueError, KeyError):  # no such cgroup, or one without a limit ("max")
            continue
        available_bytes = min(available_bytes, left_bytes)
    return max(0, available_bytes)


def _numbers(file: Path) -> dict[str, int]:
    """The second word of each line, by the first."""
    return {words[0]: int(words[1]) for words in map(str.split, file.read_text().splitlines())}
