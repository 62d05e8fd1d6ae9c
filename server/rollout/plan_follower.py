"""Looks at the serving plan in the root, and has the rollout match it.

Whatever is wrong with the plan or with the root, the last plan that could be applied is served on, and the one that
this gateway kept on its disk where it starts while the root is away.
"""

import asyncio
import logging

from exchange.plan.serving_plan import ServingPlan, read_plan
from exchange.storage import StorageError, StorageRoot
from exchange.storage.records import RecordError
from server.background_call import in_background
from server.rollout.candidates import Candidates
from server.rollout.local_releases import LocalReleases
from server.rollout.rollout import Rollout
from server.routing import Router

POLL_EVERY_S = 0.5
SETTLED_WITHIN_S = 60.0
"""A gateway starts to answer after this time at the latest."""
_log = logging.getLogger(__name__)


class PlanFollower:
    """Looks twice a second from `start` to `stop`."""

    def __init__(
        self, root: StorageRoot, releases: LocalReleases, router: Router, rollout: Rollout, candidates: Candidates
    ) -> None:
        self._root = root
        self._releases = releases
        self._router = router
        self._rollout = rollout
        self._candidates = candidates
        self._revision = 0
        self._trouble = ""
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """The plan that is there now is applied when this returns, as far as its versions can be loaded."""
        plan = await in_background(lambda: present_plan(self._root, self._releases))
        if plan is not None:
            self._revision = plan.revision
            self._rollout.want(plan)
        self._tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._rollout.work())]
        await self._rollout.settle(SETTLED_WITHIN_S)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def look(self) -> None:
        """Hands the plan to the rollout where it is a newer one."""
        try:
            stored = await in_background(lambda: read_plan(self._root))
        except (StorageError, RecordError) as error:
            self._report(f"serving revision {self._router.plan.revision} on: {error}")
            return
        if stored is not None and stored.plan.revision < self._revision:
            self._report(
                f"the serving plan went back from revision {self._revision} to {stored.plan.revision}: not applied"
            )
            return
        self._report("")
        if stored is not None and stored.plan.revision > self._revision:
            self._revision = stored.plan.revision
            self._rollout.want(stored.plan)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(POLL_EVERY_S)
            try:
                await self.look()
                self._rollout.apply()
                self._candidates.review(self._router.plan)
            except Exception:
                _log.exception("following the serving plan met a defect of the gateway")

    def _report(self, trouble: str) -> None:
        """Each trouble once, and its end."""
        if trouble and trouble != self._trouble:
            _log.warning("%s", trouble)
        elif self._trouble and not trouble:
            _log.info("the serving plan is followed again")
        self._trouble = trouble


def present_plan(root: StorageRoot, releases: LocalReleases) -> ServingPlan | None:
    """The root's plan; where it cannot be had, the last one that this gateway served whole. For starting.

    Blocks for as long as the root is patient.
    """
    try:
        stored = read_plan(root)
    except (StorageError, RecordError) as error:
        plan = releases.last_plan()
        what = "the release it was given" if plan is None else f"the last plan it knew, revision {plan.revision},"
        _log.warning("the gateway starts with %s: %s", what, error)
        return plan
    return None if stored is None else stored.plan
