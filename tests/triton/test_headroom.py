"""One more version is only tried where the memory for it is there: the machine's, and the container's."""

from pathlib import Path

import pytest

from server.triton.headroom import available_memory_bytes, check_memory
from server.triton.installation import TritonSetupError

GIB = 1 << 30


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """A machine with 4 GiB to spare, and no limits."""
    write(
        tmp_path / "proc/meminfo", f"MemTotal: {8 * GIB >> 10} kB\nMemAvailable: {4 * GIB >> 10} kB\nHugePages_Free: 0"
    )
    return tmp_path


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    """200 MiB, on a disk that need not hold them."""
    folder = tmp_path / "engine"
    folder.mkdir()
    with (folder / "model.bin").open("wb") as file:
        file.truncate(200 << 20)
    return folder


def write(path: Path, text: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


def test_this_machine_has_some() -> None:
    assert 0 < available_memory_bytes() < 1 << 50


def test_a_machine_without_limits(system: Path) -> None:
    assert available_memory_bytes(system) == 4 * GIB
    write(system / "sys/fs/cgroup/memory.max", "max")
    write(system / "sys/fs/cgroup/memory.current", 7 * GIB)
    write(system / "sys/fs/cgroup/memory.stat", "inactive_file 0")
    assert available_memory_bytes(system) == 4 * GIB


def test_a_container_has_what_its_limit_leaves_beside_what_is_no_cache(system: Path) -> None:
    for folder, limit, used, cache in (
        ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    ):
        write(system / folder / limit, 3 * GIB)
        write(system / folder / used, 2 * GIB)
        write(system / folder / "memory.stat", f"anon 17\n{cache} {GIB >> 1}")
        assert available_memory_bytes(system) == 3 * GIB >> 1


def test_an_engine_that_will_not_fit_is_refused_before_it_is_tried(system: Path, engine: Path) -> None:
    check_memory(engine, 1, system)
    write(system / "proc/meminfo", f"MemAvailable: {GIB >> 10} kB")
    with pytest.raises(TritonSetupError, match=r"^1024 MiB of memory are available, and about 1120 are needed for one"):
        check_memory(engine, 1, system)
