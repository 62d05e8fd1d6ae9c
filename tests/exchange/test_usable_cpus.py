"""CPUs that a process may keep busy, by its affinity and by the quotas of its cgroups."""

import os
from pathlib import Path

import pytest

from exchange.usable_cpus import threads_within_quota, usable_cpus

AFFINITY = len(os.sched_getaffinity(0))
MOST = 100_000 * AFFINITY
V1 = "sys/fs/cgroup/cpu,cpuacct"
IN_V1 = {"proc/self/cgroup": "5:memory:/other\n3:cpu,cpuacct:/pods/one\n0::/"}
IN_V2 = {"proc/self/cgroup": "0::/pods/one"}


def v1(group: str, quota_us: int | str, period_us: int | str = 100_000, mount: str = V1) -> dict[str, str]:
    folder = f"{mount}/{group}"
    return {f"{folder}/cpu.cfs_quota_us": str(quota_us), f"{folder}/cpu.cfs_period_us": str(period_us)}


def v2(group: str, text: str, mount: str = "sys/fs/cgroup") -> dict[str, str]:
    return {f"{mount}/{group}/cpu.max": text}


@pytest.fixture
def two_cpus() -> None:
    if AFFINITY < 2:
        pytest.skip("with one CPU every quota leaves the same")


def machine(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return folder


@pytest.mark.usefixtures("two_cpus")
@pytest.mark.parametrize(
    "files",
    [
        IN_V2 | v2("pods/one", "100000 100000"),
        IN_V2 | v2("pods/one", "25000 100000"),  # never none
        IN_V2 | v2("pods/one", f"{MOST} 100000") | v2("pods", "50000 50000"),  # of the group around
        IN_V2 | v2("pods/one", "199999 100000"),  # what is left over is for the work beside
        IN_V2 | v2("pods/one", "max 100000") | v2("", "100000 100000"),
        {"proc/self/cgroup": "0::/"} | v2("", "100000 100000"),  # a container with a namespace of its own
        IN_V2 | v2("", "100000 100000"),  # one without
        {"proc/self/cgroup": "0::/../../other"} | v2("", "100000 100000"),
        {"proc/self/cgroup": "1:cpu:/\n0::/pods/one"} | v2("pods/one", "100000 100000", "sys/fs/cgroup/unified"),
        IN_V1 | v1("pods/one", 100_000),
        IN_V1 | v1("pods/one", -1) | v1("pods", 100_000),
        IN_V1 | v1("", 50_000, 50_000),
        IN_V1 | v1("pods/one", 100_000, mount="sys/fs/cgroup/cpu"),
        v1("", 100_000, mount="sys/fs/cgroup/cpu"),  # no /proc
        v2("", "100000 100000"),
    ],
)
def test_a_quota_of_one_cpu_leaves_one(tmp_path: Path, files: dict[str, str]) -> None:
    system = machine(tmp_path, files)
    assert usable_cpus(system) == threads_within_quota(system) == 1


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"proc/self/cgroup": "garbage\n\n::\n"},
        IN_V2,
        IN_V2 | v2("pods/one", "max 100000") | v2("pods", "max"),
        IN_V2 | v2("pods/one", "some text"),
        IN_V2 | v2("pods/one", ""),
        IN_V2 | v2("pods/one", "100000 0"),
        IN_V2 | v2("pods/one", f"{2 * MOST} 100000"),
        IN_V2 | v2("pods/two", "100000 100000"),  # somebody else's
        IN_V1 | v1("pods/one", -1),
        IN_V1 | v1("pods/one", "some text"),
        IN_V1 | v1("pods/one", 100_000, 0),
        IN_V1 | v1("pods/one", 2 * MOST),
        IN_V1 | v1("other", 100_000),
        IN_V1 | {f"{V1}/pods/one/cpu.cfs_quota_us": "100000"},
    ],
)
def test_without_a_quota_that_bounds_it_the_affinity_counts(tmp_path: Path, files: dict[str, str]) -> None:
    system = machine(tmp_path, files)
    assert usable_cpus(system) == AFFINITY
    assert threads_within_quota(system) == 0


def test_this_machine_has_some() -> None:
    assert 1 <= usable_cpus() <= AFFINITY


@pytest.mark.usefixtures("two_cpus")
def test_a_group_whose_name_is_no_utf_8_has_its_quota(tmp_path: Path) -> None:
    name = os.fsdecode(b"pods/\xff\x85one")
    folder = machine(tmp_path, v2(name, "100000 100000"))
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/self/cgroup").write_bytes(b"0::/pods/\xff\x85one\n")
    assert usable_cpus(folder) == 1
