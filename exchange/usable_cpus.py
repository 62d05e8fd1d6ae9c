"""How many CPUs this process may keep busy: those of its affinity, or fewer where a cgroup has a quota of their time.

A process with more threads than its quota runs for a part of each period and then stands still with all of them, those
that answer and refuse included. So a quota is rounded down: what is left over of a CPU is for the work beside.
"""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_OPENMP_THREADS = "OMP_NUM_THREADS"


def usable_cpus(system: Path = Path("/")) -> int:
    """At least 1.

    Args:
        system: holds proc and sys.
    """
    quotas = [int(quota_cpus) for quota_cpus in _quotas_cpus(system)]
    return max(1, min([len(os.sched_getaffinity(0)), *quotas]))


def threads_within_quota(system: Path = Path("/")) -> int:
    """For libraries that choose by the affinity themselves: 0, their own choice, unless a quota leaves less."""
    cpus = usable_cpus(system)
    return cpus if cpus < len(os.sched_getaffinity(0)) else 0


def keep_openmp_within_quota() -> None:
    """Bounds torch in this process and its children, unless OMP_NUM_THREADS is set; before torch is imported."""
    if threads := threads_within_quota():
        os.environ.setdefault(_OPENMP_THREADS, str(threads))


def _quotas_cpus(system: Path) -> Iterator[float]:
    """Every limit that the process is under, of both versions of cgroups, in CPUs."""
    mounts = system / "sys/fs/cgroup"
    for controllers, group in _groups(system / "proc/self/cgroup"):
        if not controllers:
            folders = (mounts, mounts / "unified")
            read = _quota_of_version_2
        elif "cpu" in controllers.split(","):
            folders = (mounts / controllers, mounts / "cpu")
            read = _quota_of_version_1
        else:
            continue
        for folder in (mount / each for mount in folders for each in (group, *group.parents)):
            try:
                yield read(folder)
            except (OSError, ValueError, ZeroDivisionError):  # no such group, or one without a quota
                continue


def _groups(file: Path) -> Iterator[tuple[str, PurePosixPath]]:
    """Controllers, none for version 2, and the group below their mount.

    A container without a namespace of its own sees the host's name of its group, and its group as the mount itself.
    """
    try:
        lines = [os.fsdecode(line) for line in file.read_bytes().splitlines()]
    except OSError:
        lines = ["0::/", "1:cpu:/"]
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        group = PurePosixPath(name.lstrip("/"))
        yield controllers, PurePosixPath() if ".." in group.parts else group


def _quota_of_version_2(group: Path) -> float:
    quota_us, period_us = (group / "cpu.max").read_text().split()
    return _cpus(quota_us, period_us)


def _quota_of_version_1(group: Path) -> float:
    return _cpus(*((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")))


def _cpus(quota_us: str, period_us: str) -> float:
    """Raises ValueError where there is no quota: "max", or -1."""
    if int(quota_us) <= 0 or int(period_us) <= 0:
        raise ValueError("no quota")
    return int(quota_us) / int(period_us)
