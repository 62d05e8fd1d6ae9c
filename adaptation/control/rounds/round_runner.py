"""The life of rounds: queued, learnt, judged, published, tried, promoted or not; one at a time.

Each phase does again what it finds half done, and the state moves on by one write at its end. So whoever holds the
lease goes on with a round from what is in the root; the worker's folder on this machine only saves time.
"""

import logging
import time
from pathlib import Path

from adaptation.control.rollout.gateway_watch import GatewayWatch
from adaptation.control.rollout.rollouts import DROP
from adaptation.control.rounds.captured_snapshot import copy_captured
from adaptation.control.rounds.laid_out_frames import LaidOut, erased_since
from adaptation.control.rounds.left_out import LeftOutFrames
from adaptation.control.rounds.round_folders import RoundFolders
from adaptation.control.rounds.round_start import StartChoice
from adaptation.control.rounds.round_state import (
    Phase,
    Progress,
    RoundBook,
    RoundState,
    change_round,
    progress_key,
    read_round,
    round_key,
)
from adaptation.control.rounds.worker_process import FAKE, ROUND, WorkerProcess
from adaptation.control.settings import LearnerSettings
from exchange.failpoints import failpoint
from exchange.jobs.round_files import (
    COLLAPSE_CHECKS,
    OUT_FOLDER,
    PAGE_FILE,
    RELEASE_FOLDER,
    REPORT_FILE,
    REPORT_FOLDER,
    VERDICT_FILE,
)
from exchange.jobs.verdict import Verdict
from exchange.net.logs import working_on
from exchange.plan.lease import Lease
from exchange.plan.plan_changes import PlanRefused, apply_change, candidate_dropped, with_candidate
from exchange.plan.serving_plan import PlanContent, read_plan
from exchange.registry import publish, read_ledger
from exchange.registry.audit import REPAIR_PLAN, AuditEntry, audited, read_audit, record
from exchange.registry.releases import ReleaseError
from exchange.storage import StorageRoot
from exchange.storage.readable_objects import read_readable
from exchange.storage.records import RecordError, RecordTooNew, RecordToRepair

MOST_CRASHES = 3
FEWEST_FRAMES = 8
_LOOK_EVERY_S = 2.0
_AGAIN = "the plan was repaired, which has no candidates: its release is tried again"
"""Once at most for a round, whatever the clocks say of the order of audit entries."""
_log = logging.getLogger(__name__)


class RoundRunner:
    """`tick` is called every moment by whoever holds the lease, always from the same thread."""

    def __init__(
        self,
        root: StorageRoot,
        lease: Lease,
        settings: LearnerSettings,
        book: RoundBook,
        gateways: GatewayWatch,
        left_out: LeftOutFrames,
    ) -> None:
        self._root = root
        self._lease = lease
        self._settings = settings
        self._recipes = settings.recipes()
        self._folders = RoundFolders(root, settings, self._recipes)
        self._laid_out = LaidOut(vehicles=(), erasures=())
        self._book = book
        self._gateways = gateways
        self._left_out = left_out
        self._start = StartChoice(root, book)
        self._worker: WorkerProcess | None = None
        self._worked_before_s = 0.0
        self._next_look_s = 0.0

    def tick(self) -> None:
        """Takes the round that is under way, or else the one that has waited longest, one step on.

        A round whose data or releases are damaged, or gone, fails with that reason. One that a later release wrote of
        waits for an upgraded learner, and one that needs a damaged plan, ledger or lease for its repair; so do its
        domain's others, while those of other domains take their turns.

        Raises:
            LeaseLost: this learner may write no more.
            OSError, PlanRefused, RecordError, StorageError: the step was not done; the next call tries it again.
        """
        waiting: dict[str, RecordError] = {}
        for state in self._in_turn():
            if state.request.domain in waiting:
                continue
            self._lease.check()
            with working_on(round_id=state.id):
                try:
                    self._step(state)
                except (RecordTooNew, RecordToRepair) as error:
                    waiting[state.request.domain] = error
                    if self._worker is None:
                        continue
                except (RecordError, ReleaseError) as error:
                    self._end(state, Phase.FAILED, " ".join(str(error).split()))
            break
        for first in waiting.values():
            raise first

    def _in_turn(self) -> list[RoundState]:
        """Return the open rounds, the first to be stepped first; while one has the worker, that one alone."""
        open_rounds = [state for state in self._book.all() if not state.phase.is_final]
        if self._worker is not None:
            for state in open_rounds:
                if self._folders.path(state) == self._worker.folder:
                    return [state]
            self.close()  # its round cannot be read any more, and no other one may take its work for its own
        return sorted(open_rounds, key=lambda state: state.phase is Phase.QUEUED)

    def close(self) -> None:
        """Ends the worker; its round goes on with the next learner."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None

    def _step(self, state: RoundState) -> None:
        if state.cancelled_by is not None and state.phase not in (Phase.PUBLISHING, Phase.ROLLOUT):
            self._end(state, Phase.CANCELLED, f"cancelled by {state.cancelled_by}")
        elif state.phase is Phase.QUEUED:
            self._begin(state)
        elif state.phase is Phase.SNAPSHOT:
            self._take_snapshot(state)
        elif state.phase is Phase.LEARNING:
            self._learn(state)
        elif state.phase is Phase.PUBLISHING:
            self._publish(state)
        else:
            self._follow_rollout(state)

    def _begin(self, state: RoundState) -> None:
        if state.request.recipe not in self._recipes:
            self._end(state, Phase.FAILED, f"there is no recipe {state.request.recipe} any more")
            return
        start = self._start.choose(state.request.domain)
        self._move(
            state,
            Phase.SNAPSHOT,
            f"starts from release {start.version}: {start.why}",
            start_version=start.version,
            from_anchor=start.from_anchor,
            sight=start.sight,
        )

    def _take_snapshot(self, state: RoundState) -> None:
        snapshot = copy_captured(self._root, state.request.domain, state.id, self._left_out)
        left_out = f" ({len(snapshot.left_out)} more cannot be read)" if snapshot.left_out else ""
        if snapshot.frames < FEWEST_FRAMES:
            self._end(
                state,
                Phase.FAILED,
                f"only {snapshot.frames} captured frames in domain {state.request.domain}, fewer than {FEWEST_FRAMES}"
                f"{left_out}: serve more frames with --root, and start another round",
            )
            return
        self._move(state, Phase.LEARNING, f"{snapshot.frames} captured frames{left_out}", frames=snapshot.frames)

    def _learn(self, state: RoundState) -> None:
        if self._worker is None:
            self._worker = self._start_worker(state)
        worker = self._worker
        if time.monotonic() >= self._next_look_s:
            self._next_look_s = time.monotonic() + _LOOK_EVERY_S
            self._show_progress(state, worker)
            if erased_since(self._root, self._laid_out):
                self.close()
                self._folders.remove(state)
                self._move(state, Phase.LEARNING, "a vehicle was erased: the round begins anew without its frames")
                return
        if (status := worker.exit_status) is None:
            self._keep_in_bounds(state, worker)
            return
        self._show_progress(state, worker)
        self.close()
        if status == 0:
            self._judge(state, worker.folder)
        elif why := worker.failure():
            self._end(state, Phase.FAILED, why)
        elif state.crashes + 1 >= MOST_CRASHES:
            last = worker.last_words()
            self._end(state, Phase.FAILED, f"the worker ended {MOST_CRASHES} times with status {status}: {last}")
        else:
            text = f"the worker ended with status {status}; it goes on where it was"
            self._move(state, Phase.LEARNING, text, crashes=state.crashes + 1)

    def _start_worker(self, state: RoundState) -> WorkerProcess:
        self._laid_out = self._folders.prepare(state)
        before = read_readable(self._root, progress_key(state.id), Progress.decode)
        self._worked_before_s = 0.0 if before is None else before.worked_s
        failpoint("round.before-worker")
        settings, folder = self._settings, self._folders.path(state)
        program = FAKE if settings.fake else ROUND
        worker = WorkerProcess(folder, engine_busy=settings.yield_file, alone=settings.own_machine, program=program)
        failpoint("round.after-worker")
        return worker

    def _show_progress(self, state: RoundState, worker: WorkerProcess) -> None:
        if (told := worker.progress()) is None:
            return
        worked_s = self._worked_before_s + worker.worked_s
        progress: Progress = told.model_copy(update={"paused": worker.held, "worked_s": worked_s})
        self._root.write(progress_key(state.id), progress.encode())

    def _keep_in_bounds(self, state: RoundState, worker: WorkerProcess) -> None:
        settings = self._settings
        p99_s = self._gateways.slowest_p99_s()
        worker.hold(f"a gateway's p99 is {p99_s:.2f} s" if p99_s > settings.p99_limit_s else "")
        if (held_bytes := worker.memory_bytes()) > settings.memory_gib * 2**30:
            self._end(state, Phase.FAILED, f"the worker held {held_bytes / 2**30:.1f} GiB: see --memory-gib")
        elif self._worked_before_s + worker.worked_s > 3600 * settings.hours:
            self._end(state, Phase.FAILED, f"the worker took more than {settings.hours:g} hours: see --hours")

    def _judge(self, state: RoundState, folder: Path) -> None:
        for name in (REPORT_FILE, PAGE_FILE):
            self._root.write(round_key(state.id, name), (folder / OUT_FOLDER / REPORT_FOLDER / name).read_bytes())
            failpoint("round.after-report")
        encoded = (folder / VERDICT_FILE).read_bytes()
        verdict = Verdict.decode(encoded, VERDICT_FILE)
        self._root.write(round_key(state.id, VERDICT_FILE), encoded)
        failpoint("round.after-verdict")
        if verdict.passed:
            self._move(state, Phase.PUBLISHING, "the gate let it pass")
            return
        why = " ".join(verdict.reasons())
        if not state.request.force:
            self._end(state, Phase.REJECTED, f"the gate refused it: {why}", collapsed=_has_collapsed(verdict))
            return
        entry = AuditEntry(who=state.requested_by, what="force-gate", round_id=state.id, why=why[:2000], forced=True)
        record(self._root, entry)
        failpoint("round.after-forced")
        self._move(state, Phase.PUBLISHING, f"forced by {state.requested_by}, although the gate refused: {why}")

    def _publish(self, state: RoundState) -> None:
        release = self._folders.path(state) / OUT_FOLDER / RELEASE_FOLDER
        version = next((entry.version for entry in read_ledger(self._root) if entry.round_id == state.id), None)
        if version is None and state.cancelled_by is not None:
            self._end(state, Phase.CANCELLED, f"cancelled by {state.cancelled_by}")
            return
        if version is None and not release.exists():
            self._move(state, Phase.LEARNING, "its release was left on another machine: it is made again")
            return
        if version is None:
            by = f"learner, for {state.requested_by}"
            parent = state.start_version
            version = publish(self._root, release, by=by, origin="round", round_id=state.id, parent=parent).version
        failpoint("round.after-publish")
        self._try(state, version)

    def _try(self, state: RoundState, version: int) -> None:
        domain, shadow_share = state.request.domain, self._settings.rollout.shadow_share

        def unless_there(content: PlanContent | None) -> PlanContent | None:
            present = None if content is None else content.domains.get(domain, content.default)
            if present is not None and version in (present.serving, present.candidate and present.candidate.version):
                return None
            return with_candidate(content, version, domain=domain, share=0.0, shadow_share=shadow_share)

        try:
            apply_change(self._root, self._lease, unless_there)
        except PlanRefused as refused:  # an operator's candidate is there
            why = str(refused)
            if state.cancelled_by is not None:
                self._end(state, Phase.CANCELLED, f"cancelled by {state.cancelled_by}", version=version)
            elif state.reason != why:
                change_round(self._root, state.id, lambda now: now.told(why).model_copy(update={"reason": why}))
            return
        failpoint("round.after-candidate")
        self._move(state, Phase.ROLLOUT, f"release {version} is the candidate", version=version, reason="")
        self._folders.remove(state)

    def _follow_rollout(self, state: RoundState) -> None:
        stored = read_plan(self._root)
        plan = None if stored is None else stored.plan.of(state.request.domain)
        if plan is not None and plan.serving == state.version:
            self._end(state, Phase.PROMOTED, f"release {state.version} is served")
        elif state.cancelled_by is not None:
            self._withdraw(state)
            self._end(state, Phase.CANCELLED, f"cancelled by {state.cancelled_by}")
        elif plan is None or plan.candidate is None or plan.candidate.version != state.version:
            self._lost_candidate(state)
        elif plan.candidate.share:
            text = f"release {state.version} answers {plan.candidate.share:.0%} of the drives"
            if all(event.text != text for event in state.events):
                change_round(self._root, state.id, lambda now: now.told(text))

    def _withdraw(self, state: RoundState) -> None:
        """Drops the round's candidate, where it is one."""
        domain = state.request.domain

        def without(content: PlanContent | None) -> PlanContent | None:
            present = None if content is None else content.domains.get(domain, content.default)
            is_there = present is not None and present.candidate and present.candidate.version == state.version
            return candidate_dropped(content, domain=domain) if is_there else None

        who = state.cancelled_by or ""
        entry = AuditEntry(who=who, what=DROP, version=state.version, domain=domain, why="cancelled")
        with audited(self._root, entry):
            apply_change(self._root, self._lease, without)
        failpoint("round.after-withdrawal")

    def _lost_candidate(self, state: RoundState) -> None:
        """Ends a round with what the audit says last of its candidate; one that a repair took away is tried again."""
        told = [
            entry
            for entry in read_audit(self._root, state.created_at)
            if entry.version == state.version or entry.what == REPAIR_PLAN
        ]
        if told and told[-1].what == REPAIR_PLAN and all(event.text != _AGAIN for event in state.events):
            self._move(state, Phase.PUBLISHING, _AGAIN)
            return
        why = f"{told[-1].what} by {told[-1].who}: {told[-1].why}" if told else "its candidate was dropped"
        self._end(state, Phase.REJECTED, why, collapsed="collapse" in why)

    def _move(self, state: RoundState, phase: Phase, text: str, **changes: object) -> None:
        self._lease.check()

        def moved(now: RoundState) -> RoundState:
            return now if now.phase is not state.phase else now.moved(phase, text, **changes)

        change_round(self._root, state.id, moved)
        _log.info("round %s of %s: %s: %s", state.id, state.request.domain, phase, text)

    def _end(self, state: RoundState, phase: Phase, reason: str, **changes: object) -> None:
        """The last step of a round, whatever it left on this machine."""
        self.close()
        self._move(state, phase, reason, **changes)
        if read_round(self._root, state.id).phase.is_final:
            self._folders.remove(state)


def _has_collapsed(verdict: Verdict) -> bool:
    """Whether it was refused because it says less than the incumbent: some classes have gone."""
    return any(check.name in COLLAPSE_CHECKS and not check.passed for check in verdict.checks)
