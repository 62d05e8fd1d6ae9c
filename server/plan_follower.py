"""Makes this gateway serve what the serving plan in the root says, a moment after it says so.

A plan is applied whole and between two frames, or not at all: whatever is wrong with it or with the root, the last
plan that could be applied is served on.
"""

import asyncio
import logging
from collections.abc import Mapping

import numpy as np

from exchange import serving_plan
from exchange.records import RecordError
from exchange.serving_plan import NO_PRIOR_ID, read_plan
from exchange.storage import StorageError, StorageRoot
from server.routing import DomainPlan, Router, ServingPlan
from server.segmenter import Segmenter

POLL_EVERY_S = 0.5
_log = logging.getLogger(__name__)


class PlanFollower:
    """Looks at the root twice a second from `start` to `stop`."""

    def __init__(self, root: StorageRoot, router: Router, segmenter: Segmenter) -> None:
        self._root = root
        self._router = router
        self._segmenter = segmenter
        self._counted_apart = frozenset(router.plan.domains)
        self._trouble = ""
        self._following: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """The plan that is there now is applied when this returns."""
        await self.look()
        self._following = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)

    async def look(self) -> None:
        """Applies the plan where it is another one, and can be applied."""
        try:
            stored = await asyncio.to_thread(read_plan, self._root)
        except (StorageError, RecordError) as error:
            self._report(f"serving revision {self._router.plan.revision} on: {error}")
            return
        self._report("" if stored is None else self._apply(stored.plan))

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(POLL_EVERY_S)
            try:
                await self.look()
            except Exception:
                _log.exception("following the serving plan met a defect of the gateway")

    def _apply(self, plan: serving_plan.ServingPlan) -> str:
        """Returns why it was not applied, or nothing."""
        current = self._router.plan
        if plan.revision == current.revision:
            return ""
        if plan.revision < current.revision:
            return f"the serving plan went back from revision {current.revision} to {plan.revision}: not applied"
        applicable = routed(plan, self._counted_apart)
        if missing := applicable.serving_versions - set(self._segmenter.ready_versions):
            return f"revision {plan.revision} needs versions {sorted(missing)}, which are not loaded: not applied"
        self._router.plan = applicable
        _log.info("serving revision %d", plan.revision)
        return ""

    def _report(self, trouble: str) -> None:
        """Each trouble once, and its end."""
        if trouble and trouble != self._trouble:
            _log.warning("%s", trouble)
        elif self._trouble and not trouble:
            _log.info("the serving plan is followed again")
        self._trouble = trouble


def routed(plan: serving_plan.ServingPlan, counted_apart: frozenset[str]) -> ServingPlan:
    """The plan as frames are routed by it; domains to be counted apart that it does not list get its default."""
    domains: Mapping[str, serving_plan.DomainPlan] = {name: plan.of(name) for name in counted_apart | set(plan.domains)}
    return ServingPlan(
        revision=plan.revision,
        default=_routed_domain(plan.default),
        domains={name: _routed_domain(domain) for name, domain in domains.items()},
    )


def _routed_domain(plan: serving_plan.DomainPlan) -> DomainPlan:
    ratio = plan.log_prior_ratio.get(plan.serving)
    if ratio is None:
        return DomainPlan(serving=plan.serving, prior_id=NO_PRIOR_ID)
    return DomainPlan(plan.serving, plan.prior_id, np.array(ratio, dtype=np.float32))
