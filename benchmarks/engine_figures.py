"""What the benchmarks of engines measure: times, operations, the machine's peak, and labels that agree."""

import copy
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from adaptation.learning.export.graph import FrameGraph
from adaptation.learning.export.loaded_engine import LoadedEngine
from adaptation.learning.networks.hrda import HRDA
from benchmarks.report import Row
from clients.simulation.city import SimulatedDrive
from exchange.networks import WindowConfig

SEED = 0
PEAK_PRODUCTS = 10
FRAMES_PER_S, TIMES, EQUAL = "frames/s", "times (a)", "% labels as (a)"

Labels = NDArray[np.uint8]
Module = TypeVar("Module", bound=nn.Module)
T = TypeVar("T")


@dataclass(frozen=True)
class Subject:
    """One network, and how it reads a frame."""

    name: str
    network: HRDA
    frame_size: tuple[int, int]
    windows: WindowConfig


class Way(NamedTuple):
    """One way to label a frame, and the operations (2 per multiply-add) that its network takes."""

    name: str
    label: Callable[[Labels], Labels]
    flops: int


class Absent(NamedTuple):
    """A way that this machine does not offer, and why."""

    name: str
    reason: str


def measure(subject: Subject, ways: Iterable[Way | Absent], repeats: int, peak_flops_per_s: float) -> list[Row]:
    """One row a way, on a frame of the simulated city; all are compared with the first, which is never absent."""
    frame_HW3 = SimulatedDrive("sim-day", SEED, subject.frame_size).frame(0).image_HW3
    rows: list[Row] = []
    first: tuple[Labels, float] | None = None
    for way in ways:
        if isinstance(way, Absent):
            known = {"network": subject.name, "way": way.name, "ms": way.reason}
            rows.append({heading: known.get(heading, "-") for heading in rows[0]})
            continue
        labels_HW, seconds = timed(partial(way.label, frame_HW3), repeats)
        first_labels_HW, first_s = first = first or (labels_HW, seconds)
        rows.append(
            {
                "network": subject.name,
                "way": way.name,
                "ms": 1e3 * seconds,
                FRAMES_PER_S: 1 / seconds,
                TIMES: first_s / seconds,
                EQUAL: f"{100 * np.mean(labels_HW == first_labels_HW):.3f}",  # three digits would hide what differs
                "GFLOP": way.flops / 1e9,
                "GFLOP/s": way.flops / 1e9 / seconds,
                "% of peak": 100 * way.flops / seconds / peak_flops_per_s,
            }
        )
    return rows


def timed(call: Callable[[], T], repeats: int) -> tuple[T, float]:
    """The result, and the seconds of the fastest call after one to warm up: other work can only add to a time."""
    result = call()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return result, min(seconds)


def matmul_flops_per_s(side: int, dtype: torch.dtype, device: str = "cpu") -> float:
    """Operations per second of a square matrix product of random numbers."""
    left, right = (torch.randn(side, side, dtype=dtype, device=device) for _ in range(2))

    def product() -> None:
        torch.mm(left, right)
        if device == "cuda":
            torch.cuda.synchronize()

    return 2 * side**3 / timed(product, PEAK_PRODUCTS)[1]


def operations(module: Module, call: Callable[[Module], object]) -> int:
    """Operations of the convolutions and matrix products in a call, none of them carried out.

    `call` gets a copy of the module on torch's meta device and gives it tensors on that device.
    """
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        call(copy.deepcopy(module).to("meta"))
    return counter.get_total_flops()


def engine_way(name: str, engine: LoadedEngine, graph: FrameGraph) -> Way:
    """An engine made from the graph."""
    frame_HW3 = torch.empty(*graph.frame_size, 3, dtype=torch.uint8, device="meta")
    flops = operations(graph, lambda graph: graph.fused(frame_HW3))
    return Way(name, lambda frame_HW3: engine.infer(frame_HW3).label_HW, flops)
