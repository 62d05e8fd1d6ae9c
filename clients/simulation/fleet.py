"""Simulated vehicles that send frames at a steady rate, and what became of them."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from clients.client import (
    AsyncRoadshiftClient,
    Connection,
    FrameSettings,
    RequestFailed,
    RetryBudget,
    SegmentResult,
)
from clients.simulation.rendered_frames import RenderedFrame
from exchange.label_space import IGNORE_ID, NUM_CLASSES

_REFUSED = ("RESOURCE_EXHAUSTED", "UNAVAILABLE")


@dataclass
class FleetReport:
    """What became of one domain's frames."""

    domain: str
    elapsed_s: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    """By gRPC status."""
    confusion_KK: NDArray[np.int64] = field(default_factory=lambda: np.zeros((NUM_CLASSES, NUM_CLASSES), np.int64))
    """Truth by row, answer by column; each rendered frame counts once."""

    @property
    def answered(self) -> int:
        return len(self.latencies_s)

    @property
    def refused(self) -> int:
        return sum(self.failures[status] for status in _REFUSED)

    @property
    def failed(self) -> int:
        return self.failures.total() - self.refused

    @property
    def frames_per_s(self) -> float:
        return self.answered / self.elapsed_s if self.elapsed_s else 0.0

    def latency_s(self, percentile: float) -> float:
        return float(np.percentile(self.latencies_s, percentile)) if self.latencies_s else float("nan")

    @property
    def mean_iou(self) -> float:
        """Over the classes that occur in truth or answers; NaN before the first answer."""
        hits_K = np.diag(self.confusion_KK)
        union_K = self.confusion_KK.sum(axis=0) + self.confusion_KK.sum(axis=1) - hits_K
        occurs_K = union_K > 0
        return float(np.mean(hits_K[occurs_K] / union_K[occurs_K])) if occurs_K.any() else float("nan")


@dataclass(frozen=True)
class Drives:
    """What a fleet is to do: one vehicle for each rendered drive, which starts anew when it is too short."""

    domain: str
    rendered: Sequence[Sequence[RenderedFrame]]
    frames_per_vehicle: int
    frames_per_s: float
    pictures: Path | None = None
    """Where the first answer of each vehicle is drawn."""


async def drive_fleet(
    connection: Connection, drives: Drives, timeout_s: float = 5.0, on_frame: Callable[[], None] = lambda: None
) -> FleetReport:
    """Drives all vehicles at once.

    A vehicle sends at its rate whether or not earlier frames were answered, and tries nothing again: what is refused
    is counted.
    """
    report = FleetReport(drives.domain)
    started = time.perf_counter()
    async with asyncio.TaskGroup() as vehicles:
        for number in range(len(drives.rendered)):
            vehicle = _Vehicle(drives, number, report, on_frame)
            vehicles.create_task(vehicle.drive(connection, started, timeout_s))
    report.elapsed_s = time.perf_counter() - started
    return report


@dataclass(frozen=True)
class _Vehicle:
    drives: Drives
    number: int
    report: FleetReport
    on_frame: Callable[[], None]

    async def drive(self, connection: Connection, started: float, timeout_s: float) -> None:
        name = f"{self.drives.domain}-{self.number}"
        frames = self.drives.rendered[self.number]
        settings = FrameSettings(name, domain=self.drives.domain, confidence=self.drives.pictures is not None)
        offset = self.number / len(self.drives.rendered)  # vehicles do not all send in the same instant
        client = AsyncRoadshiftClient(connection, settings, timeout_s=timeout_s, budget=RetryBudget(0))
        async with client, asyncio.TaskGroup() as sending:
            for index in range(self.drives.frames_per_vehicle):
                due = started + (index + offset) / self.drives.frames_per_s
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                sending.create_task(self._send(client, frames[index % len(frames)], index))

    async def _send(self, client: AsyncRoadshiftClient, frame: RenderedFrame, index: int) -> None:
        sent = time.perf_counter()
        try:
            result = await client.segment(frame.jpeg)
        except RequestFailed as error:
            self.report.failures[error.status.name] += 1
        else:
            self.report.latencies_s.append(time.perf_counter() - sent)
            if index < len(self.drives.rendered[self.number]):
                self.report.confusion_KK += confusion(frame.labels_HW, result.labels_HW)
            if index == 0 and self.drives.pictures is not None:
                picture = self.drives.pictures / f"{self.drives.domain}-{self.number}.png"
                picture.write_bytes(_side_by_side(frame, result))
        self.on_frame()


def confusion(truth_HW: NDArray[np.uint8], labels_HW: NDArray[np.uint8]) -> NDArray[np.int64]:
    """int64 [K, K]: pixels by truth (row) and label (column); those without truth are left out."""
    known = truth_HW != IGNORE_ID
    pairs = truth_HW[known].astype(np.int64) * NUM_CLASSES + labels_HW[known]
    return np.bincount(pairs, minlength=NUM_CLASSES**2).reshape(NUM_CLASSES, NUM_CLASSES)


def _side_by_side(frame: RenderedFrame, result: SegmentResult) -> bytes:
    """Frame, labels over it, and confidence, as a PNG."""
    image = simplejpeg.decode_jpeg(frame.jpeg)
    panels = [image, result.overlay(image, opacity=0.7)]
    if result.confidence_HW is not None:
        panels.append(cv2.cvtColor(result.confidence_HW, cv2.COLOR_GRAY2RGB).astype(np.uint8))
    _, encoded = cv2.imencode(".png", cv2.cvtColor(np.hstack(panels), cv2.COLOR_RGB2BGR))
    return encoded.tobytes()
