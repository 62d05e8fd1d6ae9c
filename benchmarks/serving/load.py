"""Vehicles that ask, and what became of their frames. Runs in a process of its own, whose CPU is counted apart."""

import asyncio
import math
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np

from benchmarks.serving.known_frames import KnownFrame
from benchmarks.serving.processes import ProcessTree
from benchmarks.serving.targets import TIMEOUT_S, Ask, Lost, Refused, Request, Target

_MEMORY_SAMPLES_APART_S = 1.0
_WARM_UP_FRAMES = 2
"""Sent before anything is counted: for the engine's caches, and for a server that was paused."""


@dataclass(frozen=True)
class Load:
    """Without `frames_per_s` each vehicle sends its next frame when the last was answered; with it all vehicles
    together send at that rate, answered or not."""

    vehicles: int
    seconds: float
    frames_per_s: float | None = None


@dataclass
class Measurement:
    elapsed_s: float = 0.0
    """Until the last answer."""
    latencies_s: list[float] = field(default_factory=list)
    """Of answered frames, as are the bytes."""
    refusals_s: list[float] = field(default_factory=list)
    lost: Counter[str] = field(default_factory=Counter)
    wrong: int = 0
    """Answers with another frame's id, or with other labels than the bare engine gives."""
    bytes_in: int = 0
    bytes_out: int = 0
    cpu_s: dict[str, float] = field(default_factory=dict)
    """By role of the serving processes."""
    load_cpu_s: float = 0.0
    """Of the load's process; 0 where that itself serves."""
    resident_bytes: list[int] = field(default_factory=list)
    """Of all serving processes, each second."""

    @property
    def frames_per_s(self) -> float:
        return len(self.latencies_s) / self.elapsed_s

    def add(self, other: "Measurement") -> None:
        """Counts another one's frames and seconds, too."""
        self.elapsed_s += other.elapsed_s
        self.latencies_s += other.latencies_s
        self.refusals_s += other.refusals_s
        self.lost += other.lost
        self.wrong += other.wrong
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out
        self.cpu_s = {role: self.cpu_s.get(role, 0.0) + cpu_s for role, cpu_s in other.cpu_s.items()}
        self.load_cpu_s += other.load_cpu_s
        self.resident_bytes += other.resident_bytes

    def percentile_ms(self, percentile: float) -> float:
        """Of the answers' latencies; NaN of none."""
        return percentile_ms(self.latencies_s, percentile)


def percentile_ms(seconds: Sequence[float], percentile: float) -> float:
    """NaN of nothing."""
    return 1e3 * float(np.percentile(seconds, percentile)) if seconds else math.nan


def measure(target: Target, load: Load, frames: Sequence[KnownFrame]) -> Measurement:
    return asyncio.run(_measure(target, load, frames))


async def _measure(target: Target, load: Load, frames: Sequence[KnownFrame]) -> Measurement:
    async with target.open(load.vehicles) as (ask, root_pid):
        fleet = _Fleet(ask, frames, Measurement())
        for number in range(_WARM_UP_FRAMES):
            await fleet.send(0, number)
        fleet.measurement = Measurement()
        async with asyncio.timeout(load.seconds + 2 * TIMEOUT_S), _watching(root_pid, fleet.measurement):
            if load.frames_per_s is None:
                await fleet.send_when_answered(load)
            else:
                await fleet.send_at_rate(load, load.frames_per_s)
        return fleet.measurement


@asynccontextmanager
async def _watching(root_pid: int, measurement: Measurement) -> AsyncIterator[None]:
    """Fills in time, CPU and memory."""
    tree = ProcessTree(root_pid)

    async def sample() -> None:
        while True:
            measurement.resident_bytes.append(tree.resident_bytes())
            await asyncio.sleep(_MEMORY_SAMPLES_APART_S)

    sampling = asyncio.create_task(sample())
    cpu_s, load_cpu_s, started = tree.cpu_s(), time.process_time(), time.perf_counter()
    yield
    measurement.elapsed_s = time.perf_counter() - started
    measurement.cpu_s = {role: after_s - cpu_s[role] for role, after_s in tree.cpu_s().items()}
    if root_pid != os.getpid():
        measurement.load_cpu_s = time.process_time() - load_cpu_s
    measurement.resident_bytes.append(tree.resident_bytes())
    sampling.cancel()


@dataclass
class _Fleet:
    ask: Ask
    frames: Sequence[KnownFrame]
    measurement: Measurement

    async def send_when_answered(self, load: Load) -> None:
        end = time.perf_counter() + load.seconds

        async def drive(vehicle: int) -> None:
            number = 0
            while (left_s := end - time.perf_counter()) > 0:
                wait_s = await self.send(vehicle, number)
                await asyncio.sleep(min(wait_s, left_s))
                number += 1

        async with asyncio.TaskGroup() as vehicles:
            for vehicle in range(load.vehicles):
                vehicles.create_task(drive(vehicle))

    async def send_at_rate(self, load: Load, frames_per_s: float) -> None:
        started = time.perf_counter()
        async with asyncio.TaskGroup() as sending:
            for number in range(round(load.seconds * frames_per_s)):
                due = started + number / frames_per_s
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                sending.create_task(self.send(number % load.vehicles, number))

    async def send(self, vehicle: int, number: int) -> float:
        """Sends one frame, counts what became of it, and returns how long to wait before the next one."""
        frame = self.frames[(vehicle + number) % len(self.frames)]
        request = Request(vehicle, f"{vehicle}-{number}", frame)
        measurement = self.measurement
        sent = time.perf_counter()
        try:
            answer = await self.ask(request)
        except Refused as refusal:
            measurement.refusals_s.append(time.perf_counter() - sent)
            return refusal.retry_after_s
        except Lost as loss:
            measurement.lost[str(loss)] += 1
            return 0.0
        measurement.latencies_s.append(time.perf_counter() - sent)
        measurement.wrong += answer.frame_id != request.frame_id or not frame.is_answered_by(answer.labels)
        measurement.bytes_in += len(frame.jpeg)
        measurement.bytes_out += len(answer.labels) if isinstance(answer.labels, bytes) else answer.labels.nbytes
        return 0.0
