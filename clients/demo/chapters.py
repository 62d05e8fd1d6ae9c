"""The story, chapter by chapter: what is served goes down at dusk, is learnt from, judged, tried, promoted, undone."""

import json
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from roadshift.v1 import operations_pb2 as pb

from clients.client import Connection
from clients.demo.fleet_at_work import FleetAtWork
from clients.demo.journal import Answer, Journal, confusion_of, mean_iou
from clients.demo.operator import Operator
from clients.demo.outside_releases import DAYLIGHT, evaluated, export, poison, scores_beforehand
from clients.demo.short import COMFORTABLE_LOAD, capacity
from clients.demo.simulated_data import DAY, DUSK, FRAME_HW, Scale, city_data, simulate_day, simulate_dusk
from clients.operations import phase_name
from clients.operations_cli import gate_table
from clients.own_processes import GATEWAY_READY, LEARNER_READY, DemoError, own_roadshift
from clients.simulation.fleet_plan import fleet_progress
from clients.simulation.rendered_frames import RenderedFrame, render_drives
from exchange.label_space import CLASS_NAMES
from exchange.plan.serving_plan import DomainPlan
from exchange.registry import fetch_release
from exchange.storage import open_root

_FLEET_SEED = 9000
_QUARTER, _TRICKLE = 0.25, 0.02
"""Of the gateway's capacity: while a round learns, and while others work on this machine who give way to nobody."""
_PATIENCE_S = 300.0
_LOOK_EVERY_S = 0.2
_LINE_EVERY_S = 10.0


class Budget(NamedTuple):
    """How much of everything: the demo's, and a small one for tests."""

    scale: Scale
    streets: int
    """That the fleet drives through, in each domain."""
    moments: int
    """Frames of each street."""
    minutes: float
    """Of the round."""
    drift_patience_s: float
    """Then the operator starts the round."""
    rollout: tuple[float, float, int]
    """Seconds as a shadow, seconds with a share of the frames, and frames answered at least."""
    judged_frames: int
    """Of dusk, by the gate."""


WHOLE = Budget(Scale(120, 16, 40), 10, 8, 1.5, 20.0, (4.0, 6.0, 12), 32)
SMALL = Budget(Scale(4, 4, 0), 4, 4, 1.0, 1.0, (0.5, 0.5, 2), 16)


@dataclass
class Story:
    """One telling. The chapters are called in the order in which they stand here."""

    out: Path
    """Of this telling alone; it must be empty."""
    cache: Path
    """Of simulated frames, for later tellings."""
    budget: Budget
    fake: bool
    """Neither engine nor learning: the chapters that need them are left out."""
    console: Console
    journal: Journal

    version: int = 1
    """That the story ends with: the round's, where it was promoted."""
    step: str = ""
    """Of a round that learns."""

    def tell(self) -> None:
        """Raises DemoError where it does not go on."""
        with ExitStack() as stack:
            stack.enter_context(self._lines_where_no_bars_are_drawn())
            self._start(stack)
            self.fleet = stack.enter_context(FleetAtWork(self.gateway, self.streets, self.journal))
            self._day()
            self._dusk()
            learnt = self._learn()
            with ThreadPoolExecutor(1) as beside:
                poisoned = None if self.fake else beside.submit(self._poison)
                if learnt is not None:
                    self._follow_candidate(learnt)
                    self._measure(learnt)
                if poisoned is not None:
                    scored = beside.submit(self._score_on_other_drives)
                    self._refuse(poisoned.result())
                    self._compare(scored.result())
            if learnt is not None:
                self._roll_back()
        if self.journal.failures:
            raise DemoError(f"not every frame was answered: {dict(self.journal.failures)}")

    @contextmanager
    def _lines_where_no_bars_are_drawn(self) -> Iterator[None]:
        """A line every 10 s, in a log file and wherever else there is no terminal."""
        over = threading.Event()

        def tell() -> None:
            while not over.wait(_LINE_EVERY_S):
                self._say_now()

        if self.console.is_terminal:
            yield
            return
        teller = threading.Thread(target=tell, name="lines", daemon=True)
        teller.start()
        try:
            yield
        finally:
            over.set()
            teller.join()

    def _say_now(self) -> None:
        what = self._now() if self.journal.answers else self.journal.events[-1].text
        self.console.print(f"{self.journal.now_s:5.0f} s  ... {what}", highlight=False, soft_wrap=True)

    def _say(self, text: str, mark: str = "") -> None:
        self.journal.note(text, mark)
        self.console.print(
            f"[bold cyan]{self.journal.now_s:5.0f} s[/bold cyan]  {text}", highlight=False, soft_wrap=True
        )

    def _start(self, stack: ExitStack) -> None:
        self._say(f"the console, once the learner has started: {self._console_link()}")
        self.data = city_data(self.cache)
        self._say("rendering the city, and building the engine of a network that knows daylight alone")
        simulate_day(self.data, self.budget.scale)
        with ThreadPoolExecutor(1) as beside, fleet_progress() as progress:
            built = beside.submit(self._release_to_begin_with)
            self.streets = {
                domain: list(progress.track(self._render(domain), self.budget.streets, description=domain))
                for domain in (DAY, DUSK)
            }
            self.start = built.result()
        self._say("starting a learner and a gateway that share nothing but a storage root")
        self.root = open_root(str(self.out / "root"))
        learner_at = stack.enter_context(own_roadshift(self._learner(), LEARNER_READY, self.out / "learner.log"))
        serve = own_roadshift(
            self._serve(), GATEWAY_READY, self.out / "gateway.log", {"ROADSHIFT_CAPTURE_INTERVAL_S": "8"}
        )
        learner = learner_at()
        self.gateway = Connection(stack.enter_context(serve)())
        self.operator = Operator(learner, self.gateway, self.root, DUSK, self.console)
        self.capacity = capacity(self.gateway, self.streets[DAY][0])
        self._say(f"the gateway answers {self.capacity:.1f} frames a second; the fleet asks for {COMFORTABLE_LOAD:.0%}")

    def _console_link(self) -> str:
        """Chosen before the learner starts, which takes the token that it finds in its folder."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.console_port = free.getsockname()[1]
        token, folder = secrets.token_urlsafe(32), self.out / "learner"
        folder.mkdir()
        (folder / "console-token").touch(mode=0o600)
        (folder / "console-token").write_text(f"{token}\n")
        return f"http://127.0.0.1:{self.console_port}/?token={token}"

    def _release_to_begin_with(self) -> Path:
        if self.fake:
            return Path(__file__).parents[2] / "model_repository" / "starter"
        export(DAYLIGHT, self.data, self.cache / "daylight")
        return self.cache / "daylight"

    def _render(self, domain: str) -> Iterator[list[RenderedFrame]]:
        return render_drives(domain, self.budget.streets, self.budget.moments, FRAME_HW, _FLEET_SEED)

    def _learner(self) -> list[str]:
        shadow_s, bake_s, frames = self.budget.rollout
        limits = self.out / "gate_limits.json"
        limits.write_text(json.dumps({"target_frames": self.budget.judged_frames}))
        return [
            "learner", "--root", self.root.url, "--source", str(self.data.source), "--release", str(self.start),
            "--run-dir", str(self.out / "learner"), "--yield-file", str(self.out / "gateway" / "engine_busy"),
            "--p99-limit-s", "10", "--shadow-s", str(shadow_s), "--bake-s", str(bake_s), "--share", "0.5",
            "--fewest-frames", str(frames), "--gate-limits", str(limits), "--metrics", "",
            "--console-port", str(self.console_port),
            *(["--fake"] if self.fake else []),
        ]  # fmt: skip

    def _serve(self) -> list[str]:
        return [
            "serve", "--root", self.root.url, "--run-dir", str(self.out / "gateway"), "--metrics", "",
            "--domain", DAY, "--domain", DUSK, *(["--fake"] if self.fake else []),
        ]  # fmt: skip

    def _day(self) -> None:
        self._say("the fleet drives by day", "day")
        self.fleet.drive(DAY, COMFORTABLE_LOAD * self.capacity)
        self._drive_lap(DAY, 1)
        self._say(f"by day: mIoU {100 * self._score(DAY, 1):.1f}, by the simulator's truth")

    def _dusk(self) -> None:
        self._say("the fleet drives into dusk, other streets in another light", "dusk")
        self.operator.round_on_drift(self._fewest_captured, self.budget.minutes)
        self.fleet.drive(DUSK, COMFORTABLE_LOAD * self.capacity)
        self._drive_lap(DUSK, 1)
        self._say(f"at dusk: mIoU {100 * self._score(DUSK, 1):.1f}")
        ratio_K = np.array(self.operator.plan().log_prior_ratio.get(1, (0.0,) * len(CLASS_NAMES)))
        moved = [f"{CLASS_NAMES[k]} x{np.exp(ratio_K[k]):.2f}" for k in np.argsort(-abs(ratio_K))[:4] if ratio_K[k]]
        self._say(f"the prior has adapted, without labels: {', '.join(moved) or 'no class is surely off'}", "prior")

    def _learn(self) -> int | None:
        """The version that the gate let pass; None where it was refused."""
        self.operator.wait_for_captured(self._fewest_captured, _PATIENCE_S)
        found = self.operator.newest_round(self.budget.drift_patience_s)
        if found is None:
            found = self.operator.start_round(self.budget.minutes)
            self._say("no drift that the trigger is sure of: the operator starts a round", "round (operator)")
        else:
            self._say(
                f"drift starts a round: {found.events[0].text if found.events else found.reason}", "round (drift)"
            )
        self.operator.no_more_rounds_on_drift()
        self.fleet.drive(DUSK, _QUARTER * self.capacity)
        self._say("the fleet keeps driving, at a quarter of capacity")
        judged = self.operator.watch(found.id, self._note_step)
        self.step = ""
        if judged.checks:
            self.console.print(gate_table(judged))
        if judged.phase == pb.ROUND_PHASE_ROLLOUT:
            self._say("the gate accepts what the round has learnt", "accepted")
            return judged.version
        if judged.phase == pb.ROUND_PHASE_FAILED:
            raise DemoError(f"the round failed: {judged.reason}")
        self._say(f"the round's release is {phase_name(judged.phase)}: {judged.reason}", "round refused")
        self._say("that is the gate's work, and a good end: release 1 serves on, and no vehicle was given a worse one")
        return None

    def _follow_candidate(self, version: int) -> None:
        """At the usual load, until it is served."""
        self.fleet.drive(DUSK, COMFORTABLE_LOAD * self.capacity)
        self.operator.follow_candidate(version, _PATIENCE_S, self._say_candidate)
        self._say(f"release {version} is promoted", f"promoted v{version}")

    def _say_candidate(self, plan: DomainPlan) -> None:
        if (tried := plan.candidate) is not None and tried.share:
            self._say(f"canary: release {tried.version} answers {tried.share:.0%} of the drives", "canary")
        elif tried is not None:
            self._say(f"release {tried.version} is a shadow: it labels copies, and answers nobody", "shadow")

    def _measure(self, version: int) -> None:
        self.version = version
        self.fleet.drive(DUSK, COMFORTABLE_LOAD * self.capacity)
        self._drive_lap(DUSK, version)
        before, after = self._score(DUSK, 1), self._score(DUSK, version)
        self._say(f"at dusk: mIoU {100 * after:.1f} with release {version}, {100 * before:.1f} with release 1")

    def _score_on_other_drives(self) -> float:
        return 100 * evaluated(self._release(self.version), self.data, self.out)

    def _compare(self, ours: float) -> None:
        """With what was measured beforehand: the start, and the same network taught by labels of dusk."""
        first, taught = (scores_beforehand()[name] for name in ("daylight", "taught by labels"))
        beforehand = f"measured beforehand: release 1 {first:.1f}, taught by labels {taught:.1f}"
        told = f"release {self.version} {ours:.1f}; {beforehand}"
        closed = f": {(ours - first) / (taught - first):.0%} of the gap" if self.version > 1 else ""
        self._say(f"on {self.budget.scale.judged_dusk} dusk frames of other drives: {told}{closed}")

    def _poison(self) -> Path:
        simulate_dusk(self.data, self.budget.scale)
        return poison(self.cache / "daylight", self.data, self.cache / "poisoned")

    def _refuse(self, poisoned: Path) -> None:
        self.fleet.drive(DUSK, _TRICKLE * self.capacity)
        self._say("somebody brings a poisoned release: its last layer's classes are shuffled, its engine is sound")
        with self.console.status("adding it to the ledger, measuring it at the gate"):
            version = self.operator.add(poisoned, self.data.compared)
            gated = self.operator.promote(version, self.data, self.out / "releases")
        self.console.print(gated.output, highlight=False, markup=False)
        if gated.code == 0 or "the gate refuses" not in gated.error:
            raise DemoError(
                f"release {version} is poisoned, and the gate did not refuse it: {gated.error or 'accepted'}"
            )
        self._say(f"release {version} is refused; it never answered a frame", f"v{version} refused")

    def _roll_back(self) -> None:
        jpeg = self.streets[DUSK][0][0].jpeg
        served, written_s, met_s = self.operator.roll_back(jpeg, "the demo shows how")
        self._say(
            f"rollback to release {served}: in the plan after {written_s:.2f} s, and every frame that was sent"
            f" {met_s:.2f} s after the order was answered by it",
            "rollback",
        )
        self.fleet.drive(DUSK, COMFORTABLE_LOAD * self.capacity)
        since_s = self.journal.now_s
        self._wait("after the rollback", 8, lambda a: a.at_s > since_s and a.version == served)

    @property
    def _fewest_captured(self) -> int:
        """Frames that a round learns from at least; not all are kept, and some come later."""
        return self.fleet.distinct_frames(DUSK) // 2

    def _release(self, version: int) -> Path:
        return fetch_release(self.root, version, self.out / "releases")

    def _score(self, domain: str, version: int) -> float:
        return mean_iou(confusion_of(self._answers(domain, version)))

    def _answers(self, domain: str, version: int) -> list[Answer]:
        return [a for a in self.journal.answers if a.domain == domain and a.version == version]

    def _note_step(self, now: pb.Round) -> str:
        """Keep what the round does, for `_now`; return how the fleet is."""
        progress = now.progress
        self.step = f"; the round: {progress.step} {progress.done}/{progress.total}" if progress.step else ""
        return self._fleet()

    def _now(self) -> str:
        return f"{self._fleet()}{self.step}"

    def _fleet(self) -> str:
        recent = [a for a in self.journal.answers if a.at_s > self.journal.now_s - 30]
        if not recent:
            return "the fleet: no answer for 30 s"
        p50_ms = 1000 * np.median([a.latency_s for a in recent])
        failed = self.journal.failures.total()
        return f"the fleet: release {recent[-1].version}, p50 {p50_ms:.0f} ms, {failed} not answered"

    def _drive_lap(self, domain: str, version: int) -> None:
        """Until every distinct frame was answered by a version."""
        frames = self.fleet.distinct_frames(domain)
        self._wait(f"{domain}, release {version}", frames, lambda a: a.domain == domain and a.version == version)

    def _wait(self, what: str, frames: int, counts: Callable[[Answer], bool]) -> None:
        """Until so many distinct frames have an answer that counts. Raises DemoError where none comes any more."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console) as progress:
            bar, done, last_s = progress.add_task(what, total=frames), 0, time.monotonic()
            while done < frames:
                found = len({answer.frame for answer in self.journal.answers if counts(answer)})
                if found > done:
                    done, last_s = found, time.monotonic()
                    progress.update(bar, completed=min(done, frames))
                if time.monotonic() > last_s + _PATIENCE_S:
                    raise DemoError(f"{what}: no frame was answered for {_PATIENCE_S:.0f} s")
                time.sleep(_LOOK_EVERY_S)
