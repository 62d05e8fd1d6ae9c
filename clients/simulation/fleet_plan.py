"""A simulated fleet rendered and driven, with progress and a table: what `roadshift fleet` and the short demo share."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from clients.client import Connection
from clients.simulation.fleet import Drives, FleetReport, drive_fleet
from clients.simulation.rendered_frames import RenderedFrame, render_drives


def fleet_progress() -> Progress:
    return Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())


@dataclass(frozen=True)
class FleetPlan:
    """How many vehicles drive, and how far."""

    vehicles: int
    frames: int
    """Frames that each vehicle sends."""
    distinct: int
    """Frames rendered for each vehicle; after them its drive starts anew."""
    size_hw: tuple[int, int]
    seed: int
    pictures: Path | None = None
    timeout_s: float = 5.0
    """How long a vehicle waits for an answer."""

    def render(self, domain: str, progress: Progress) -> list[list[RenderedFrame]]:
        """One rendered drive for each vehicle.

        Raises:
            ValueError: unknown domain or impossible size.
        """
        drives = render_drives(domain, self.vehicles, self.distinct, self.size_hw, self.seed)
        return list(progress.track(drives, total=self.vehicles, description=f"{domain}: rendering"))

    def drive(
        self,
        connection: Connection,
        domain: str,
        rendered: Sequence[Sequence[RenderedFrame]],
        fps: float,
        progress: Progress,
    ) -> FleetReport:
        """Drives all vehicles at `fps` frames per second each, and draws the first answer of each if asked to."""
        if self.pictures is not None:
            self.pictures.mkdir(parents=True, exist_ok=True)
        bar = progress.add_task(f"{domain}: driving", total=self.vehicles * self.frames)
        drives = Drives(domain, rendered, self.frames, fps, self.pictures)
        return asyncio.run(drive_fleet(connection, drives, self.timeout_s, partial(progress.advance, bar)))


def fleet_table(reports: list[FleetReport]) -> Table:
    table = Table("domain", *(("frames", "frames/s", "p50 ms", "p99 ms", "refused", "failed", "mIoU %")))
    for column in table.columns[1:]:
        column.justify = "right"
    for report in reports:
        table.add_row(
            report.domain,
            str(report.answered),
            f"{report.frames_per_s:.1f}",
            f"{1000 * report.latency_s(50):.0f}",
            f"{1000 * report.latency_s(99):.0f}",
            str(report.refused),
            str(report.failed),
            "-" if math.isnan(report.mean_iou) else f"{100 * report.mean_iou:.1f}",
        )
    return table
