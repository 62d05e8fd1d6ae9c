"""The short demo: a gateway, a fleet by day and then at dusk, a table and pictures."""

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from clients.client import Connection, FrameSettings, RequestFailed, RoadshiftClient
from clients.own_processes import GATEWAY_READY, DemoError, own_roadshift
from clients.simulation.fleet_plan import FleetPlan, fleet_progress, fleet_table
from clients.simulation.rendered_frames import RenderedFrame

COMFORTABLE_LOAD = 0.6
"""Share of the measured capacity that a fleet asks for: enough to be busy, not enough to be refused."""
_DOMAINS = ("sim-day", "sim-dusk")


def drive_and_show(out: Path, vehicles: int, frames: int, fake: bool) -> None:
    """Serves, drives, and prints what became of the frames.

    Raises:
        DemoError: something did not start, or not every frame was answered.
    """
    plan = FleetPlan(vehicles, frames, min(frames, 6), (512, 1024), seed=9000, pictures=out, timeout_s=30.0)
    options = ["--metrics", "", "--run-dir", str(out / "gateway"), *(f"--domain={name}" for name in _DOMAINS)]
    command = ["serve", *options, *(["--fake"] if fake else [])]
    with fleet_progress() as progress, own_roadshift(command, GATEWAY_READY, out / "gateway.log") as address_when_ready:
        rendered = {name: plan.render(name, progress) for name in _DOMAINS}
        starting = progress.add_task("starting the gateway", total=None)
        connection = Connection(address_when_ready())
        progress.remove_task(starting)
        fps = COMFORTABLE_LOAD * capacity(connection, rendered[_DOMAINS[0]][0]) / vehicles
        reports = [plan.drive(connection, name, rendered[name], fps, progress) for name in _DOMAINS]
    console = Console()
    console.print(fleet_table(reports))
    console.print(f"frame | labels | confidence of each vehicle: {out}/sim-*.png", highlight=False, soft_wrap=True)
    if failures := sum((report.failures for report in reports), Counter[str]()):
        raise DemoError(f"not every frame was answered: {dict(failures)}")


def capacity(connection: Connection, drive: Sequence[RenderedFrame]) -> float:
    """Frames per second that the gateway answers to one vehicle which sends the next as soon as it can.

    Raises:
        DemoError: a frame was not answered.
    """
    with RoadshiftClient(connection, FrameSettings("capacity", domain="default"), timeout_s=60.0) as client:
        try:
            client.segment(drive[0].jpeg)
            started = time.perf_counter()
            for frame in drive[:3]:
                client.segment(frame.jpeg)
        except RequestFailed as error:
            raise DemoError(f"the gateway did not answer its first frames: {error}") from error
        return len(drive[:3]) / (time.perf_counter() - started)
