import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from server.triton.frame_slots import FrameSlots
from server.triton.installation import TritonSetupError
from server.triton.shared_memory import SHM_DIR, Region, RegionOwner


def names(prefix: str) -> set[str]:
    return {path.name.removeprefix(prefix) for path in SHM_DIR.glob(f"{prefix}*")}


def test_an_owner_leaves_nothing() -> None:
    owner = RegionOwner()
    Region(f"{owner.prefix}frames", 4096)
    Region(f"{owner.stub_prefix}one", 4096)
    assert names(owner.prefix) == {"lock", "private", "frames", "stub-one"}

    owner.close()

    assert names(owner.prefix) == set()


def test_the_regions_of_killed_stubs_go_and_those_of_living_ones_stay() -> None:
    owner = RegionOwner()
    for name in ("alive", "dead"):
        Region(f"{owner.stub_prefix}{name}", 4096)

    owner.remove_stub_regions(except_for=[f"{owner.stub_prefix}alive"])

    assert names(owner.stub_prefix) == {"alive"}
    owner.close()


def test_the_next_owner_removes_the_regions_of_a_killed_one_and_no_others() -> None:
    program = (
        "from server.triton.shared_memory import *; owner = RegionOwner(); Region(owner.prefix + 'frames', 4096);"
        "print(owner.prefix, flush=True); input()"
    )
    living = RegionOwner()
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    ) as child:
        assert child.stdout is not None
        prefix = child.stdout.readline().strip()
        RegionOwner().close()
        assert names(prefix) == {"lock", "private", "frames"}  # while the child lives

        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        RegionOwner().close()

    assert names(prefix) == set()
    assert names(living.prefix) == {"lock", "private"}
    living.close()


def test_a_region_that_does_not_fit_is_refused_before_it_is_used() -> None:
    with pytest.raises(TritonSetupError, match=r"^\S+ has \d+ MiB free and 67108864 MiB are needed: free some"):
        Region("roadshift-test-huge", 1 << 46)

    assert names("roadshift-test-huge") == set()


def test_slots_are_bounded_and_do_not_overlap() -> None:
    owner = RegionOwner()
    slots = FrameSlots(f"{owner.prefix}frames", (4, 6), count=3)
    held = [slots.take() for _ in range(3)]
    with pytest.raises(IndexError):
        slots.take()
    for value, slot in enumerate(held):
        for array in (*slot.inputs.values(), *slot.outputs.values()):
            array[:] = value
    for value, slot in enumerate(held):
        assert all(np.all(array == value) for array in (*slot.inputs.values(), *slot.outputs.values()))

    slots.give_back(held[1])
    assert slots.take() is held[1]
    slots.close()
    owner.close()
