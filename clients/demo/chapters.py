"""The story, chapter by chapter: what is served goes down at dusk, is learnt from, judged, tried, promoted, undone."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
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
from clients.demo.outside_releases import evaluated, export, learn_daylight, learn_from_labels, poison
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
    daylight_iterations: int
    """Of the network that the story begins with; 0 begins with the starter."""
    label_iterations: int
    """Of the network that is taught by labels of dusk."""
    rollout: tuple[float, float, int]
    """Seconds as a shadow, seconds with a share of the frames, and frames answered at least."""
    judged_frames: int
    """Of dusk, by the gate."""


WHOLE = Budget(Scale(200, 16, 96, 40), 12, 8, 1.75, 20.0, 400, 60, (4.0, 6.0, 12), 32)
SMALL = Budget(Scale(4, 4, 0, 0), 4, 4, 1.0, 1.0, 0, 0, (0.5, 0.5, 2), 16)


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

    def tell(self) -> None:
        """Raises DemoError where it does not go on."""
        with ExitStack() as stack:
            self._start(stack)
            self.fleet = stack.enter_context(FleetAtWork(self.gateway, self.streets, self.journal))
            self._day()
            self._dusk()
            version = self._learn()
            if version is None:
                version = self._try_a_release_from_outside()
            self._measure(version)
            if not self.fake:
                with ThreadPoolExecutor(1) as beside:
                    compared = beside.submit(self._scores_on_other_drives, version)
                    self._poison()
                    self._compare(compared.result())
            self._roll_back()
        if self.journal.failures:
            raise DemoError(f"not every frame was answered: {dict(self.journal.failures)}")

    def _say(self, text: str, mark: str = "") -> None:
        self.journal.note(text, mark)
        self.console.print(f"[bold cyan]{self.journal.now_s:5.0f} s[/bold cyan]  {text}", highlight=False)

    def _start(self, stack: ExitStack) -> None:
        scale, iterations = self.budget.scale, self.budget.daylight_iterations
        self.data = city_data(self.cache)
        self._say("rendering the city")
        simulate_day(self.data, scale)
        if iterations:
            self._say("training the network that it begins with, on labelled daylight alone")
            learn_daylight(self.data, iterations, self._daylight / "network")
        with ThreadPoolExecutor(1) as beside, fleet_progress() as progress:
            built = beside.submit(self._release_to_begin_with)
            simulate_dusk(self.data, scale)
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

    @property
    def _daylight(self) -> Path:
        return self.cache / f"daylight-{self.budget.daylight_iterations}"

    def _release_to_begin_with(self) -> Path:
        if not self.budget.daylight_iterations:
            return Path(__file__).parents[2] / "model_repository" / "starter"
        export(self._daylight / "network", self.data, self._daylight / "release")
        return self._daylight / "release"

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
        """The version that the round put in service; None where it was refused."""
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
        judged = self.operator.watch(found.id, self._now)
        if judged.checks:
            self.console.print(gate_table(judged))
        if judged.phase == pb.ROUND_PHASE_ROLLOUT:
            self._say("the gate accepts what the round has learnt", "accepted")
            return self._follow_candidate(judged.version)
        if judged.phase == pb.ROUND_PHASE_FAILED:
            raise DemoError(f"the round failed: {judged.reason}")
        self._say(f"the round's release is {phase_name(judged.phase)}: {judged.reason}", "round refused")
        return None

    def _follow_candidate(self, version: int) -> int:
        """At the usual load, until it is served."""
        self.fleet.drive(DUSK, COMFORTABLE_LOAD * self.capacity)
        self.operator.follow_candidate(version, _PATIENCE_S, self._say_candidate)
        self._say(f"release {version} is promoted", f"promoted v{version}")
        return version

    def _try_a_release_from_outside(self) -> int:
        self._say(f"from outside: release 1, taught by {self.budget.scale.labelled_dusk} labelled dusk frames")
        with self.console.status("training, building and comparing a release"):
            release = self.out / "taught" / "release"
            export(self._taught_by_labels(), self.data, release)
            version = self.operator.add(release, self.data.compared)
        self._say(f"release {version} is in the ledger; the gate measures it", "gate")
        with self.console.status("the gate measures it beside what is served"):
            gated = self.operator.promote(version, self.data, self.out / "releases")
        self.console.print(gated.output, highlight=False, markup=False)
        if gated.code:
            raise DemoError(f"release {version}, taught by labels, was not accepted: {gated.error}")
        return self._follow_candidate(version)

    def _taught_by_labels(self) -> Path:
        """Release 1's network after a training on labels of dusk: what a round can be measured by."""
        network = self.out / "taught" / "network"
        if not network.exists():
            learn_from_labels(self._release(1), self.data, self.budget.label_iterations, network)
        return network

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

    def _scores_on_other_drives(self, version: int) -> dict[str, float]:
        """Of the releases before and after, and of a network that was taught by labels of dusk."""
        networks = {"release 1": self._release(1), f"release {version}": self._release(version)}
        networks["taught by labels"] = self._taught_by_labels()
        return {name: 100 * evaluated(network, self.data, self.out) for name, network in networks.items()}

    def _compare(self, scores: dict[str, float]) -> None:
        first, ours, taught = scores.values()
        closed = f"{(ours - first) / (taught - first):.0%} of" if taught > first else "there is no"
        told = ", ".join(f"{name} {value:.1f}" for name, value in scores.items())
        self._say(f"on {self.budget.scale.judged_dusk} dusk frames of other drives: {told}: {closed} the gap")

    def _poison(self) -> None:
        self.fleet.drive(DUSK, _TRICKLE * self.capacity)
        self._say("somebody brings a poisoned release: its last layer's classes are shuffled, its engine is sound")
        with self.console.status("building it, comparing engine and weights, measuring it at the gate"):
            version = self.operator.add(
                poison(self._release(self.version), self.data, self.out / "bad"), self.data.compared
            )
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

    def _now(self) -> str:
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
