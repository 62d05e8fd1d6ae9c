"""Labelled frames of the simulated city, rendered once and kept."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from clients.own_processes import must_run

DAY, DUSK = "sim-day", "sim-dusk"
FRAME_HW = (256, 512)
"""Of the fleet's cameras: small, so that a round has time for many iterations beside serving."""


class Scale(NamedTuple):
    """How many frames of each kind."""

    source: int
    """Labelled, by day: what the network knows already."""
    held_out: int
    """Of that, for the gate."""
    judged_dusk: int
    """For the gate before releases from outside, unlabelled, which takes 32 for a prior; and for the last scores."""


class CityData(NamedTuple):
    """Data sets' folders."""

    source: Path
    judged_dusk: Path
    compared: Path
    """Two frames, on which a release's engine is compared with its weights."""


def written(size_hw: tuple[int, int]) -> str:
    """As the commands read it."""
    return "{}x{}".format(*size_hw)


def city_data(folder: Path) -> CityData:
    return CityData(*(folder / name for name in ("day", "dusk-judged", "compared")))


def simulate_day(data: CityData, scale: Scale) -> None:
    """Writes what is not there yet, by `roadshift simulate`; a set that was cut off is begun anew.

    Raises:
        DemoError: a set cannot be written.
    """
    wanted = (
        (data.source, DAY, "train", scale.source, 1),
        (data.source, DAY, "val", scale.held_out, 1),
        (data.compared, DAY, "train", 2, 2),
    )
    with ThreadPoolExecutor(2) as pool:
        for job in [pool.submit(_simulate, *each) for each in wanted]:
            job.result()


def simulate_dusk(data: CityData, scale: Scale) -> None:
    """As `simulate_day`."""
    _simulate(data.judged_dusk, DUSK, "val", scale.judged_dusk, 1)


def _simulate(out: Path, domain: str, split: str, frames: int, seed: int) -> None:
    done = out / f"{split}-{frames}.done"
    if done.exists() or not frames:
        return
    for kind in ("leftImg8bit", "gtFine"):
        shutil.rmtree(out / kind / split, ignore_errors=True)
    options = (
        "--frames",
        str(frames),
        "--drives",
        str(max(1, frames // 4)),
        "--seed",
        str(seed),
        "--size",
        written(FRAME_HW),
    )
    must_run("simulate", "--domain", domain, "--split", split, *options, "--out", out)
    done.touch()
