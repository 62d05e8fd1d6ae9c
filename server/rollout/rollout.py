"""Makes this gateway's engine match the serving plan, again and again, while it serves.

Every version that the plan names is fetched, loaded and proved, first those that answer frames. A domain is served as
the plan says as soon as the version is ready that serves it there; until then it is served on as it was. So a rollback
waits for nothing, and neither do other domains for one whose version does not load. Versions that are not named any
more stay for a while, and go earlier where their room is needed.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Collection, Iterable

from exchange.plan import serving_plan
from exchange.registry.releases import Manifest, ReleaseError
from exchange.storage import StorageError
from exchange.storage.records import RecordError
from server.background_call import in_background
from server.cannot_load import CannotLoad
from server.rollout.candidates import Candidates
from server.rollout.local_releases import LocalReleases
from server.rollout.routed_plan import named_versions, routed, serving_versions
from server.rollout.version_counts import VersionCounts
from server.routing import DomainPlan, Router, ServingPlan
from server.segmenter import Segmenter

GRACE_S, SHORT_GRACE_S = 30.0, 10.0
"""A version that is named no more stays for so long; the shorter time where there is no room for another."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 300.0
"""Between attempts to load a version that does not load."""
LOOK_EVERY_S = 1.0

_EXPECTED = (CannotLoad, ReleaseError, RecordError, StorageError, OSError)
_log = logging.getLogger(__name__)


class Rollout:
    """`want` says what to match, `work` does it until it is cancelled."""

    def __init__(
        self,
        *,
        releases: LocalReleases,
        segmenter: Segmenter,
        router: Router,
        candidates: Candidates,
        counts: VersionCounts,
        troubles: dict[int, str],
        unpublished: Manifest | None = None,
        grace_s: float = GRACE_S,
    ) -> None:
        """
        Args:
            troubles: gets why a version is not loaded, for as long as it is not.
            unpublished: of the release that is loaded already, where it did not come from the root: the ledger may
                have another one by its number.
        """
        self._releases = releases
        self._segmenter = segmenter
        self._router = router
        self._candidates = candidates
        self._counts = counts
        self._unpublished = dict.fromkeys(segmenter.loaded_versions, unpublished) if unpublished else {}
        self._grace_s = grace_s
        self._counted_apart = frozenset(router.plan.domains)
        self._wanted: serving_plan.ServingPlan | None = None
        self._changed = asyncio.Event()
        self._tried = asyncio.Event()
        self._attempts: dict[int, int] = {}
        self._next_attempt_s: dict[int, float] = {}
        self._unnamed_since_s: dict[int, float] = {}
        self._remembered_revision = 0
        self._troubles = troubles

    def want(self, plan: serving_plan.ServingPlan) -> None:
        """From now on this plan is to be matched; what of it can be served at once is."""
        self._wanted = plan
        self.apply()
        self._changed.set()

    def apply(self) -> None:
        """Serves what of the plan can be served by what is ready now."""
        wanted, now = self._wanted, self._router.plan
        if wanted is None or now.revision == wanted.revision:
            return
        default = routed(wanted.default) if self._can_serve(wanted.default, now.default) else now.default
        domains: dict[str, DomainPlan] = {}
        waiting = default is now.default
        for name in self._counted_apart | set(wanted.domains):
            if self._can_serve(wanted.of(name), now.of(name)):
                domains[name] = routed(wanted.of(name))
            else:
                domains[name], waiting = now.domains.get(name, default), True
        self._router.plan = ServingPlan(now.revision if waiting else wanted.revision, default, domains)
        self._candidates.follow(self._router.plan)
        if not waiting:
            _log.info("serving revision %d", wanted.revision)

    async def settle(self, within_s: float) -> None:
        """Returns when every version that is to answer frames serves or is in trouble, or when the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while not self._is_settled():
                    self._tried.clear()
                    await self._tried.wait()

    async def work(self) -> None:
        while True:
            try:
                await self._step()
            except Exception:
                _log.exception("the rollout met a defect of the gateway")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):  # wait_for loses a cancellation that comes with the event
                    await self._changed.wait()
            self._changed.clear()

    async def _step(self) -> None:
        wanted = self._wanted
        if wanted is None:
            return
        self._forget_old_troubles(named_versions(wanted))
        await self._load_missing(named_versions(wanted))
        self.apply()
        await self._drop_unnamed(self._grace_s)
        if self._router.plan.revision == wanted.revision != self._remembered_revision:
            self._remembered_revision = wanted.revision
            await in_background(lambda: self._releases.remember(wanted))

    async def _load_missing(self, versions: Iterable[int]) -> None:
        wanted = self._wanted
        for version in versions:
            if self._wanted is not wanted:  # what the new plan serves goes first
                return
            if not self._is_there(version) and time.monotonic() >= self._next_attempt_s.get(version, 0.0):
                await self._try(version)
                self.apply()
                self._tried.set()

    async def _try(self, version: int) -> None:
        try:
            if version in self._unpublished:
                await self._make_way(version)
            if version not in self._segmenter.loaded_versions:
                await self._load(version)
        except Exception as error:
            self._attempts[version] = attempts = self._attempts.get(version, 0) + 1
            pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (attempts - 1))
            self._next_attempt_s[version] = time.monotonic() + pause_s
            self._troubles[version] = str(error) or type(error).__name__
            defect = None if isinstance(error, _EXPECTED) else error
            _log.warning("version %d, again in %.0f s: %s", version, pause_s, error, exc_info=defect)
        else:
            self._forget_trouble(version)

    async def _load(self, version: int) -> None:
        folder = await in_background(lambda: self._releases.get(version))
        try:
            await self._segmenter.load(version, folder)
        except CannotLoad:
            if not await self._drop_unnamed(SHORT_GRACE_S):
                raise
            await self._segmenter.load(version, folder)  # there is more room now
        _log.info("version %d is loaded", version)

    async def _make_way(self, version: int) -> None:
        """Finds out whether what is loaded by this number is the root's; drops it where not and it serves nobody."""
        manifest = self._unpublished[version]
        if not await in_background(lambda: self._releases.is_published_as(version, manifest)):
            if version in self._router.plan.serving_versions:
                raise CannotLoad(
                    f"version {version} here is the release that this gateway was started with, "
                    f"and another one in the root: start this gateway anew"
                )
            await self._segmenter.drop(version)
        del self._unpublished[version]

    async def _drop_unnamed(self, after_s: float) -> bool:
        """Drops what neither the plan names nor any frame is routed to, for so long; whether there was any."""
        needed = {*self._router.plan.serving_versions, *(named_versions(self._wanted) if self._wanted else ())}
        now_s = time.monotonic()
        unnamed = set(self._segmenter.loaded_versions) - needed
        self._unnamed_since_s = {version: self._unnamed_since_s.get(version, now_s) for version in unnamed}
        overdue = [version for version, since_s in self._unnamed_since_s.items() if now_s - since_s >= after_s]
        for version in overdue:
            await self._segmenter.drop(version)
            self._unpublished.pop(version, None)
            _log.info("version %d is dropped", version)
        if overdue:
            self._counts.forget(overdue)
            kept = {*needed, *self._segmenter.loaded_versions}
            await in_background(lambda: self._releases.keep(kept))
        return bool(overdue)

    def _is_settled(self) -> bool:
        serving = [] if self._wanted is None else serving_versions(self._wanted)
        return all(self._is_there(version) or version in self._attempts for version in serving)

    def _is_there(self, version: int) -> bool:
        """Whether the root's release by this number is loaded; it may be down."""
        return version in self._segmenter.loaded_versions and version not in self._unpublished

    def _can_serve(self, wanted: serving_plan.DomainPlan, now: DomainPlan) -> bool:
        version = wanted.serving
        works = version in self._segmenter.ready_versions or version == now.serving
        return works and version not in self._unpublished

    def _forget_old_troubles(self, named: Collection[int]) -> None:
        for version in list(self._attempts):
            if version not in named or self._is_there(version):
                self._forget_trouble(version)

    def _forget_trouble(self, version: int) -> None:
        for notes in (self._attempts, self._next_attempt_s, self._troubles):
            notes.pop(version, None)
