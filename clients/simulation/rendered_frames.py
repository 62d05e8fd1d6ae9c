"""Frames of simulated drives, rendered and compressed beforehand, so that a fleet can be driven at full speed."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from clients.simulation.city import SimulatedDrive
from exchange.usable_cpus import usable_cpus

_JPEG_QUALITY = 92
_SECONDS_APART = 2.0


@dataclass(frozen=True)
class RenderedFrame:
    jpeg: bytes
    labels_HW: NDArray[np.uint8]
    """The truth, train ids."""


def render_drives(
    domain: str, drives: int, frames: int, size_hw: tuple[int, int], seed: int
) -> Iterator[list[RenderedFrame]]:
    """Yields each drive's frames, two seconds apart, as they are finished, by all cores that this process may use.

    Raises:
        ValueError: unknown domain or impossible size.
    """
    SimulatedDrive(domain, seed, size_hw, 1 / _SECONDS_APART)  # complains here rather than in another process
    context = multiprocessing.get_context("spawn")  # gRPC's threads do not survive a fork
    with ProcessPoolExecutor(min(drives, usable_cpus()), mp_context=context) as pool:
        jobs = [pool.submit(_render_drive, domain, seed + drive, frames, size_hw) for drive in range(drives)]
        for job in jobs:
            yield job.result()


def _render_drive(domain: str, seed: int, frames: int, size_hw: tuple[int, int]) -> list[RenderedFrame]:
    drive = SimulatedDrive(domain, seed, size_hw, 1 / _SECONDS_APART)
    moments = map(drive.frame, range(frames))
    return [RenderedFrame(simplejpeg.encode_jpeg(m.image_HW3, _JPEG_QUALITY), m.labels_HW) for m in moments]
