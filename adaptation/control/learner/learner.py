"""One learner: everything that the holder of a root's lease does, again and again, in one thread."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from adaptation.control.labeling.after_rounds import AsksAfterRounds
from adaptation.control.labeling.asking import ask_for_regions
from adaptation.control.labeling.desk import LabelDesk
from adaptation.control.labeling.region_picker import RegionPicker
from adaptation.control.learner.metrics import LearnerMetrics
from adaptation.control.learner.operations import Operations, TooManyWaiting
from adaptation.control.learner.triggers import TriggerRule, Triggers
from adaptation.control.prior.follow import LivePrior
from adaptation.control.releases.collecting import collect
from adaptation.control.rollout.gateway_watch import GatewayWatch
from adaptation.control.rollout.promoted_watch import PromotedWatch
from adaptation.control.rollout.rollouts import Rollouts
from adaptation.control.rounds.left_out import LeftOutFrames
from adaptation.control.rounds.round_runner import RoundRunner
from adaptation.control.rounds.round_state import Request, RoundBook, Trigger
from adaptation.control.settings import LearnerSettings
from exchange.failpoints import failpoint
from exchange.net.callers import LEARNER
from exchange.net.listening import StartupError
from exchange.plan.lease import Lease, LeaseLapsed, LeaseLost
from exchange.plan.plan_changes import PlanRefused, apply_change, served_with
from exchange.plan.serving_plan import read_plan
from exchange.regions.tasks import RegionBatch
from exchange.registry import publish, read_ledger
from exchange.registry.audit import AuditEntry, audited
from exchange.registry.releases import ReleaseError
from exchange.storage import StorageError, StorageRoot
from exchange.storage.records import RecordError

_PAUSE_S = 0.5
_RETRY_S = 1.0
_NOW, _SOON_S, _SELDOM_S, _HOURLY_S = 0.0, 5.0, 300.0, 3600.0
STARTER_ID = "starter"
_LEASE = "lease"
_log = logging.getLogger(__name__)


@dataclass
class _Duty:
    name: str
    do: Callable[[], object]
    every_s: float
    next_s: float = 0.0


class Learner:
    """From `begin` on a root has a release and a plan; `run` keeps it adapted until `stop`."""

    def __init__(self, root: StorageRoot, lease: Lease, settings: LearnerSettings, holder: str) -> None:
        """Raises StartupError where the settings name what is not there."""
        self.root = root
        self.lease = lease
        self.settings = settings
        self.holder = holder
        self.started_at = datetime.now(UTC)
        self.book = RoundBook(root)
        self.gateways = GatewayWatch(root)
        self.troubles: dict[str, str] = {}
        """What of its duties does not work just now, and why."""
        self.left_out = LeftOutFrames()
        self._stopping = False
        self._woken = threading.Event()
        self.operations = Operations(root, lease, settings, self.book, self._woken.set)
        self.rollouts = Rollouts(root, lease, settings.rollout, self.gateways.alive, self.gateways.unreadable)
        self._runner = RoundRunner(root, lease, settings, self.book, self.gateways, self.left_out)
        self._picker = RegionPicker(root, settings, self.left_out)
        self.desk = LabelDesk(root, left_out=self.left_out)
        promoted = PromotedWatch(root, lease, settings.rollout, self.gateways.alive)
        self.triggers = Triggers(root, self.book, self._start_by_itself)
        self.metrics = LearnerMetrics(
            root=root,
            book=self.book,
            gateways=self.gateways,
            rollouts=self.rollouts,
            promoted=promoted,
            triggers=self.triggers,
            duties=lambda: [_LEASE, *(duty.name for duty in self._duties)],
            troubles=lambda: list(self.troubles),
            left_out=self.left_out,
            run_dir=settings.run_dir,
        )
        self._duties = [
            _Duty("heartbeats", self.gateways.look, _NOW),
            _Duty("rounds", self._runner.tick, _NOW),
            _Duty("regions", self._picker.tick, _NOW),
            _Duty("labels", AsksAfterRounds(root, self.book, settings.ask_clicks).tick, _SOON_S),
            _Duty("rollouts", self.rollouts.tick, _NOW),
            _Duty("promoted", promoted.tick, _SOON_S),
            _Duty("priors", LivePrior(root, lease).update, _SOON_S),
            _Duty("triggers", self.triggers.tick, _SOON_S),
            _Duty("metrics", self.metrics.look, _SOON_S),
            _Duty("storage", self.metrics.weigh, _SELDOM_S),
            _Duty("collection", lambda: collect(root, lease, who=LEARNER, why="hourly"), _HOURLY_S),
        ]

    def begin(self) -> None:
        """Sees to it that there is something to serve: what a new root needs first.

        Raises:
            StartupError: there is neither a release nor one to begin with.
            LeaseLost, RecordError, ReleaseError, StorageError: something cannot be read or written.
        """
        if read_plan(self.root) is not None:
            return
        releases = read_ledger(self.root)
        if not releases:
            if self.settings.release is None:
                raise StartupError(f"{self.settings.root} has no release yet: give the first one by --release")
            releases = [
                publish(self.root, self.settings.release, by=self.holder, origin="starter", round_id=STARTER_ID)
            ]
            failpoint("learner.after-first-release")
        version = releases[0].version
        with audited(self.root, AuditEntry(who=LEARNER, what="promote", version=version, why="the first plan")):
            apply_change(self.root, self.lease, lambda content: content or served_with(None, version, domain=None))
        failpoint("learner.after-first-plan")

    def run(self) -> None:
        """Raises LeaseLost once another has the lease; what else goes wrong is told in `troubles` and tried again."""
        try:
            while not self._stopping:
                self._woken.clear()
                self._attend_to_all()
                self._woken.wait(_PAUSE_S)
        finally:
            self._end_workers()

    def stop(self) -> None:
        """May be called from any thread, and from a signal's handler."""
        self._stopping = True  # an event could be locked by the thread that the handler interrupts

    def ask_for_regions(self, domain: str, *, by: str, clicks: int, minutes: float, double_share: float) -> RegionBatch:
        """Has regions picked for people. Raises as `asking.ask_for_regions`."""
        batch = ask_for_regions(self.root, domain, by=by, clicks=clicks, minutes=minutes, double_share=double_share)
        self._picker.wake()
        self._woken.set()
        return batch

    def _attend_to_all(self) -> None:
        try:
            for duty in self._duties:
                if self._stopping:
                    return
                self.lease.check()  # a duty waits for a root that is away longer than the lease lasts
                self._attend_to(duty)
        except LeaseLapsed as error:
            if self.troubles.get(_LEASE) is None:
                _log.warning("%s", error)
            self.troubles[_LEASE] = str(error)
            self._end_workers()  # another learner may go on with their work from now on
            return
        if self.troubles.pop(_LEASE, None):
            _log.warning("the lease of epoch %d is renewed: this learner goes on", self.lease.epoch)

    def _end_workers(self) -> None:
        self._runner.close()
        self._picker.close()

    def _attend_to(self, duty: _Duty) -> None:
        if time.monotonic() < duty.next_s:
            return
        try:
            duty.do()
        except LeaseLost:
            raise
        except (OSError, PlanRefused, RecordError, ReleaseError, StorageError) as error:
            self._note_trouble(duty, " ".join(str(error).split()))
            return
        except Exception as error:
            _log.exception("%s met a defect of the learner", duty.name)
            self._note_trouble(duty, f"a defect of the learner: {error!r}")
            return
        if self.troubles.pop(duty.name, None):
            _log.info("%s: it works again", duty.name)
        duty.next_s = time.monotonic() + duty.every_s

    def _note_trouble(self, duty: _Duty, trouble: str) -> None:
        """Each trouble once; the duty is tried again in a moment."""
        if self.troubles.get(duty.name) != trouble:
            _log.warning("%s: %s", duty.name, trouble)
        self.troubles[duty.name] = trouble
        duty.next_s = time.monotonic() + max(_RETRY_S, duty.every_s)

    def _start_by_itself(self, domain: str, rule: TriggerRule, trigger: Trigger, why: str) -> None:
        recipe = rule.recipe or self.settings.recipe
        request = Request(domain=domain, recipe=recipe, minutes=rule.minutes, trigger=trigger)
        try:
            self.operations.start_round(request, by=f"{trigger} trigger", why=why)
        except TooManyWaiting:
            _log.warning("the %s trigger of %s waits: too many rounds are queued", trigger, domain)
