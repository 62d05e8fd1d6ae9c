"""One run: a fleet drives, a round is learned, tried and served, an order is given; meanwhile the fault strikes."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
from roadshift.v1 import operations_pb2 as pb

from adaptation.control.rounds.fake_worker import CRASHES, ENDLESS, REFUSED
from adaptation.control.rounds.round_state import Phase, RoundState, read_round
from benchmarks.faults.deployment import DOMAIN, Deployment, held_lease, until
from benchmarks.faults.fault_plans import FaultPlan
from benchmarks.faults.strikes import Strike
from benchmarks.local_s3 import S3Server
from exchange.plan.serving_plan import read_plan
from exchange.registry import publish
from exchange.storage.locations import FRAMES, ShardName
from exchange.storage.records import RecordError

PATIENCE_S = 60.0
_FRAMES_FOR_A_ROUND = 10
_SEEDS = {"refused": REFUSED, "forced": REFUSED, "crashing": CRASHES, "cancelled": ENDLESS}
_ASK_AGAIN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)


@dataclass
class Told:
    """What a run left, and what went wrong while it was told; the invariants look at it."""

    deployment: Deployment
    strike: Strike
    round_id: str = ""
    other_version: int = 0
    """Of the release that was promoted from outside."""
    failures: dict[str, list[str]] = field(default_factory=dict)
    """By the name of the invariant."""
    status_of_end: dict[str, int | None] = field(default_factory=dict)

    def fails(self, invariant: str, what: str) -> None:
        self.failures.setdefault(invariant, []).append(what)


def tell(plan: FaultPlan, folder: Path, server: S3Server | None) -> Told:
    """Runs it to its end, when all processes have been told to end, or were killed because they did not."""
    deployment = Deployment(plan, folder, server)
    story = _Story(plan, deployment)
    try:
        story.tell()
    finally:
        deployment.close()
    return story.told


class _Story:
    def __init__(self, plan: FaultPlan, deployment: Deployment) -> None:
        self._plan = plan
        self._deployment = deployment
        self._strike = Strike(plan, deployment)
        self.told = Told(deployment, self._strike)

    def tell(self) -> None:
        deployment, strike = self._deployment, self._strike
        strike.reached("starting")
        deployment.fleet.start()
        strike.reached("capturing")
        self._capture()
        self._learn()
        strike.reached("order")
        self._order()
        strike.reached("after")
        if self._plan.what.startswith("gc."):
            self._collect()
        strike.wait()
        self._recover()
        deployment.fleet.stop()
        self._second_learner()
        self._end()

    def _capture(self) -> None:
        def captured() -> bool:
            names = (ShardName.parse(info.key) for info in self._deployment.root.list_objects(f"{FRAMES}/{DOMAIN}"))
            return sum(name.frames for name in names if name is not None) >= _FRAMES_FOR_A_ROUND

        if not until(captured, PATIENCE_S):
            self.told.fails("recovers", f"fewer than {_FRAMES_FOR_A_ROUND} frames captured in {PATIENCE_S:.0f} s")

    def _learn(self) -> None:
        kind = self._plan.round
        request = pb.StartRoundRequest(
            domain=DOMAIN, seed=_SEEDS.get(kind, 7), idempotency_key=f"the round of run {self._plan.seed}"
        )
        if kind == "forced":
            request.force, request.why = True, "to see it forced"
        started = self._ask(lambda stub: stub.StartRound(request, timeout=10.0))
        if started is None:
            self.told.fails("round resumes or fails", "nobody took the order for a round")
            return
        self.told.round_id = self._strike.round_id = started.id
        self._strike.reached("learning")
        if kind in ("cancelled", "withdrawn"):
            phase = Phase.LEARNING if kind == "cancelled" else Phase.ROLLOUT
            self._wait_for(lambda state: state.phase is phase or state.phase.is_final, str(phase))
            if self._plan.at == "learning":
                self._strike.wait()
            self._ask(lambda stub: stub.CancelRound(pb.CancelRoundRequest(id=started.id), timeout=10.0))
        if self._plan.at == "rollout":
            self._wait_for(lambda state: state.phase is Phase.ROLLOUT or state.phase.is_final, "the rollout")
            self._strike.reached("rollout")
        self._wait_for(lambda state: state.phase.is_final, "its end")

    def _wait_for(self, holds: Callable[[RoundState], bool], what: str) -> None:
        """Gives up where the round's state is what the fault has damaged; then the learner has to say so."""
        last = ""

        def look() -> bool:
            nonlocal last
            try:
                state = read_round(self._deployment.root, self.told.round_id)
            except RecordError as error:
                last = str(error)
                return bool(self._strike.damaged) and self._learner_says_that_it_is_damaged()
            last = f"{state.phase}, {[event.text for event in state.events][-1:]}"
            return holds(state)

        if not until(look, PATIENCE_S, 0.2):
            self.told.fails("round resumes or fails", f"no {what} in {PATIENCE_S:.0f} s: {last}")

    def _learner_says_that_it_is_damaged(self) -> bool:
        with self._deployment.operations() as calls:
            try:
                calls.stub.GetRound(pb.GetRoundRequest(id=self.told.round_id), timeout=5.0)
            except grpc.RpcError as error:
                return error.code() not in _ASK_AGAIN and self.told.round_id in (error.details() or "")
        return False

    def _order(self) -> None:
        deployment, order = self._deployment, self._plan.order
        if order == "promote":
            self.told.other_version = self._publish_other()
        if self._plan.direct:
            self._order_directly()
        elif order == "promote":
            request = pb.PromoteRequest(version=self.told.other_version, force=True, why="test")
            self._ask(lambda stub: stub.Promote(request, timeout=10.0))
        else:
            self._ask(lambda stub: stub.Rollback(pb.RollbackRequest(domain=DOMAIN, why="test"), timeout=10.0))
        if order == "promote":
            stored = read_plan(deployment.root)
            if stored is None or stored.plan.default.serving != self.told.other_version:
                self.told.fails("orders are done", f"version {self.told.other_version} was not promoted")

    def _publish_other(self) -> int:
        deployment = self._deployment
        versions: list[int] = []

        def published() -> bool:
            if not deployment.root_folder.exists() and self._plan.root == "disk":
                return False
            versions.append(publish(deployment.root, deployment.other, by="benchmark", origin="added").version)
            return True

        return versions[-1] if until(published, PATIENCE_S) else 0

    def _order_directly(self) -> None:
        """Takes the lease from the learner, which ends; its service manager starts it again."""
        order = self._plan.order
        arguments = {
            "promote": ("release", "promote", str(self.told.other_version), "--force", "--why", "test"),
            "rollback": ("rollback", "--domain", DOMAIN),
            "reset": ("reset", "--domain", DOMAIN),
        }[order]
        struck = self._plan.kind == "failpoint" and self._plan.what.startswith(order)
        status = None
        for failpoint in ([f"{self._plan.what}"] if struck else []) + [""] * 5:
            status = self._deployment.command(*arguments, "--direct", failpoint=failpoint).wait(PATIENCE_S)
            if status == -9:
                self._strike.told = f"{self._plan.what} was passed"
            if status == 0:
                return
            if order == "rollback" and status == 1 and "no previous" in self._said():
                return
            time.sleep(0.5)
        if order != "rollback":
            self.told.fails("orders are done", f"{order} --direct ended with {status}: {self._said()[-300:]}")

    def _said(self) -> str:
        return (self._deployment.folder / "commands.log").read_text()

    def _collect(self) -> None:
        """Several releases more, so that there is something to collect; the collector holds the lease."""
        for _ in range(3):
            self._publish_other()
        self._deployment.learner.end(PATIENCE_S)
        for failpoint in (self._plan.what, "", ""):
            status = self._deployment.command("release", "gc", "--keep-last", "1", failpoint=failpoint).wait(PATIENCE_S)
            if status == -9:
                self._strike.told = f"{self._plan.what} was passed"
            if status == 0:
                break
        else:
            self.told.fails("orders are done", f"release gc ended with {status}: {self._said()[-300:]}")
        self._deployment.learner.start_again()

    def _ask(self, call: Callable[[Any], Any]) -> Any:
        """Until the learner, or the next one, answers; None where it refuses, or nobody does."""
        answers: list[Any] = []

        def asked() -> bool:
            with self._deployment.operations() as calls:
                try:
                    answers.append(call(calls.stub))
                except grpc.RpcError as error:
                    return error.code() not in _ASK_AGAIN and error.code() is not grpc.StatusCode.INTERNAL
            return True

        until(asked, PATIENCE_S)
        return answers[-1] if answers else None

    def _recover(self) -> None:
        """Afterwards all gateways serve the plan as it is, and answer."""
        deployment = self._deployment

        def caught_up() -> bool:
            stored = read_plan(deployment.root)
            beats = deployment.heartbeats()
            now = datetime.now(UTC)
            return (
                stored is not None
                and len(beats) == len(deployment.gateways)
                and all(beat.plan_revision == stored.plan.revision for beat in beats)
                and all((now - beat.written_at).total_seconds() < 5 for beat in beats)
                and all(health.trouble is None for beat in beats for health in beat.versions.values())
            )

        if not until(caught_up, PATIENCE_S):
            told = [(beat.gateway, beat.plan_revision, beat.versions) for beat in deployment.heartbeats()]
            self.told.fails("recovers", f"gateways do not serve the plan after {PATIENCE_S:.0f} s: {told}")
        before = len(deployment.fleet.answers)
        if not until(lambda: len(deployment.fleet.answers) > before + 3, 20.0):
            self.told.fails("recovers", "no frame is answered any more")

    def _second_learner(self) -> None:
        now = datetime.now(UTC)

        def learns() -> bool:
            with self._deployment.operations() as calls:
                status = calls.stub.GetStatus(pb.GetStatusRequest(), timeout=5.0)
            lease = held_lease(self._deployment.root)
            return lease is not None and lease.epoch == status.lease_epoch and lease.renewed_at > now

        if not until(learns, PATIENCE_S):
            said = self._deployment.learner.said()[-500:]
            self.told.fails("one learner", f"no learner answers after {PATIENCE_S:.0f} s: {said}")
            return
        second = self._deployment.second_learner()
        status = second.wait(PATIENCE_S)
        second.kill()
        said = (self._deployment.folder / "second.log").read_text()
        if status != 1 or "one learner for a root" not in said:
            self.told.fails("one learner", f"a second learner ended with {status}: {said[-300:]}")

    def _end(self) -> None:
        deployment = self._deployment
        processes = {"learner": deployment.learner, **deployment.gateways}
        for name, process in processes.items():
            self.told.status_of_end[name] = process.end(PATIENCE_S)
