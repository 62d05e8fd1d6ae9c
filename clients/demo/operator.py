"""What the operator of the story does, by the same calls and commands as any operator."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from roadshift.v1 import operations_pb2 as pb

from clients.client import Connection, FrameSettings, RoadshiftClient
from clients.demo.simulated_data import CityData
from clients.operations import OperationsClient
from clients.operations_cli import show_step
from clients.own_processes import DemoError, Ended, must_run, run_roadshift
from exchange.plan.serving_plan import DomainPlan, read_plan
from exchange.registry import read_ledger
from exchange.registry.audit import read_audit
from exchange.storage import StorageRoot
from exchange.storage.locations import FRAMES, ShardName

_LOOK_EVERY_S = 0.2
Found = TypeVar("Found")


def until(found: Callable[[], Found | None], within_s: float) -> Found | None:
    """Asks again and again until there is an answer, or the time is over."""
    deadline = time.monotonic() + within_s
    while (answer := found()) is None and time.monotonic() < deadline:
        time.sleep(_LOOK_EVERY_S)
    return answer


class Operator:
    """One domain's."""

    def __init__(self, learner: str, gateway: Connection, root: StorageRoot, domain: str, console: Console) -> None:
        self._address = learner
        self._gateway = gateway
        self._root = root
        self._domain = domain
        self._console = console

    def plan(self) -> DomainPlan:
        """Raises DemoError where there is none."""
        if (stored := read_plan(self._root)) is None:
            raise DemoError(f"{self._root.url} has no serving plan")
        return stored.plan.of(self._domain)

    def round_on_drift(self, fewest_frames: int, minutes: float) -> None:
        with OperationsClient(Connection(self._address)) as learner:
            learner.set_trigger(
                pb.Trigger(domain=self._domain, drift=True, min_new_frames=fewest_frames, minutes=minutes)
            )

    def no_more_rounds_on_drift(self) -> None:
        with OperationsClient(Connection(self._address)) as learner:
            learner.set_trigger(pb.Trigger(domain=self._domain))

    def wait_for_captured(self, fewest_frames: int, within_s: float) -> None:
        """Until so many of the domain's frames are in the root. Raises DemoError where they do not come."""

        def captured() -> int | None:
            names = (ShardName.parse(info.key) for info in self._root.list_objects(f"{FRAMES}/{self._domain}"))
            frames = sum(name.frames for name in names if name is not None)
            return frames if frames >= fewest_frames else None

        if until(captured, within_s) is None:
            raise DemoError(f"the gateway left fewer than {fewest_frames} frames of {self._domain} in {self._root.url}")

    def newest_round(self, within_s: float) -> pb.Round | None:
        with OperationsClient(Connection(self._address)) as learner:
            return until(lambda: next(iter(learner.list_rounds(self._domain, 1)), None), within_s)

    def start_round(self, minutes: float) -> pb.Round:
        with OperationsClient(Connection(self._address)) as learner:
            request = pb.StartRoundRequest(domain=self._domain, minutes=minutes, idempotency_key="demo")
            return learner.start_round(request)

    def watch(self, round_id: str, note: Callable[[pb.Round], str]) -> pb.Round:
        """Shows a bar for each step, and beside it what `note` says, until the round was judged, or ended before."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with OperationsClient(Connection(self._address)) as learner, Progress(*columns, console=self._console) as bars:
            tasks: dict[str, TaskID] = {}
            fleet = bars.add_task("the fleet meanwhile", total=None)
            told = 0
            now = learner.get_round(round_id)
            for now in learner.watch_round(round_id):
                for event in list(now.events)[told:]:
                    bars.console.print(f"  round: {event.text}", highlight=False)
                told = len(now.events)
                show_step(bars, tasks, now)
                bars.update(fleet, description=note(now))
                if now.phase == pb.ROUND_PHASE_ROLLOUT:
                    break
        return now

    def add(self, release: Path, frames: Path) -> int:
        """Its version. Raises DemoError where the root does not take it."""
        must_run("release", "add", release, "--root", self._root.url, "--frames", frames)
        return read_ledger(self._root)[-1].version

    def promote(self, version: int, data: CityData, run_dir: Path) -> Ended:
        """Through the gate; its table is what the command prints."""
        return run_roadshift(
            "release", "promote", str(version), "--root", self._root.url, "--server", self._address,
            "--domain", self._domain, "--source", data.source, "--target", data.judged_dusk, "--run-dir", run_dir,
        )  # fmt: skip

    def follow_candidate(self, version: int, within_s: float, on_change: Callable[[DomainPlan], None]) -> None:
        """Until it is served. Raises DemoError where it was dropped, or takes too long."""
        last: DomainPlan | None = None

        def decided() -> DomainPlan | None:
            nonlocal last
            now = self.plan()
            if last is None or now.candidate != last.candidate:
                on_change(now)
            last = now
            return now if now.candidate is None or now.serving == version else None

        plan = until(decided, within_s)
        if plan is None:
            raise DemoError(f"release {version} was not promoted within {within_s:.0f} s")
        if plan.serving != version:
            why = [entry.why for entry in read_audit(self._root) if entry.version == version]
            raise DemoError(f"release {version} was dropped: {why[-1] if why else 'the audit does not say why'}")

    def roll_back(self, jpeg: bytes, why: str) -> tuple[int, float, float]:
        """The version that serves then; seconds until the learner had written it, and until a frame met it."""
        asked_s = time.monotonic()
        with OperationsClient(Connection(self._address)) as learner:
            served = learner.roll_back(self._domain, why).serving
        written_s = time.monotonic() - asked_s
        with RoadshiftClient(self._gateway, FrameSettings("probe", domain=self._domain), timeout_s=60.0) as client:
            while True:
                sent_s = time.monotonic() - asked_s
                if client.segment(jpeg).model_version == served:
                    return served, written_s, sent_s
                if sent_s > 30:
                    raise DemoError(f"the gateway does not serve release {served}, 30 s after the rollback")
