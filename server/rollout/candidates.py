"""What a candidate may do to the frames of this gateway: nothing. Its failures are counted, and its frames answered.

A candidate that fails several frames in a row, or is far slower than the version that serves, gets no more of them
here, until the plan says something else of it. One that does not answer at all is waited for no longer than a frame
can bear, and gets no other frame while it is silent: what hangs in the engine is bounded by the frames in flight.
"""

import asyncio
import logging

import numpy as np
from numpy.typing import NDArray

from server.errors import EngineFailed, EngineUnavailable, Overloaded, ServingError
from server.rollout.version_counts import VersionCounts
from server.routing import Route, ServingPlan
from server.segmenter import Segmenter, SegmenterOutput

ERRORS_IN_A_ROW = 5
COMPARED_PERCENT = 90
"""Of 50 frames five must be slow: the slowest of them may be an accident of scheduling."""
TOO_SLOW = 3.0
"""A candidate's percentile may be so many times that of the version that serves..."""
SLOW_FROM_S = 0.05
"""...or this, where that is more: nobody is kept waiting by it."""
JUDGED_FROM_FRAMES = 50
_SILENT_AFTER = 6.0
_SHORTEST_PATIENCE_S, _LONGEST_PATIENCE_S = 1.0, 10.0

_log = logging.getLogger(__name__)
_Terms = dict[int, frozenset[tuple[float, float]]]


class Candidates:
    """Belongs to one event loop. `left` says why, by version."""

    def __init__(self, segmenter: Segmenter, counts: VersionCounts) -> None:
        self._segmenter = segmenter
        self._counts = counts
        self.left: dict[int, str] = {}
        self._terms: _Terms = {}
        self._errors_in_a_row: dict[int, int] = {}
        self._silent: dict[int, set[asyncio.Task[SegmenterOutput]]] = {}
        self._serving_p99_s: dict[int, float] = {}

    def take(self, version: int, serving: int, deadline: float | None = None) -> bool:
        """Whether it may have a frame, which must still be answered by `deadline` should it fail."""
        if version in self.left or self._silent.get(version) or version not in self._segmenter.ready_versions:
            return False
        return self._patience_s(serving, deadline) >= self._serving_p99_s.get(serving, 0.0)

    async def infer(
        self,
        route: Route,
        serving: int,
        frame_HW3: NDArray[np.uint8],
        valid_hw: tuple[int, int],
        deadline: float | None,
    ) -> SegmenterOutput:
        """`Segmenter.infer` by a candidate, with a limit of time.

        Raises:
            ServingError: no answer; what is the candidate's fault is counted.
        """
        version, patience_s = route.version, self._patience_s(serving, deadline)
        task = asyncio.create_task(self._segmenter.infer(version, frame_HW3, route.log_prior_ratio_K, valid_hw))
        await asyncio.wait({task}, timeout=patience_s)
        if not task.done():
            self._wait_for_the_silent(version, task)
            raise self._failed(version, EngineUnavailable(f"version {version} has not answered for {patience_s:.1f} s"))
        try:
            output = task.result()
        except Overloaded:  # says nothing of the candidate
            raise
        except ServingError as error:
            raise self._failed(version, error) from error
        except Exception as error:
            _log.exception("version %d, a candidate, made the gateway stumble", version)
            raise self._failed(version, EngineFailed(f"version {version} failed: {error}")) from error
        self._errors_in_a_row.pop(version, None)
        return output

    def follow(self, plan: ServingPlan) -> None:
        """Gives a candidate another chance where the plan says something else of it than when it was left."""
        terms: _Terms = {}
        for candidate in (domain.candidate for domain in plan.plans):
            if candidate is not None:
                said = (candidate.share, candidate.shadow_share)
                terms[candidate.version] = terms.get(candidate.version, frozenset()) | {said}
        for version in set(self._terms) | set(terms):
            if terms.get(version) != self._terms.get(version):
                self.left.pop(version, None)
                self._errors_in_a_row.pop(version, None)
        self._terms = terms

    def review(self, plan: ServingPlan) -> None:
        """Compares times; to be called every now and then."""
        self._serving_p99_s = {
            version: p99_s
            for version in plan.serving_versions
            if (p99_s := self._counts.engine_s(version, 99, JUDGED_FROM_FRAMES)) is not None
        }
        for domain in plan.plans:
            if domain.candidate is None or domain.candidate.version in self.left:
                continue
            serving_s = self._counts.engine_s(domain.serving, COMPARED_PERCENT, JUDGED_FROM_FRAMES)
            its_s = self._counts.engine_s(domain.candidate.version, COMPARED_PERCENT, JUDGED_FROM_FRAMES)
            if serving_s is not None and its_s is not None and its_s > max(SLOW_FROM_S, TOO_SLOW * serving_s):
                self._leave(
                    domain.candidate.version,
                    f"too slow: {100 - COMPARED_PERCENT} % of its frames take {its_s:.3f} s or more in the engine, "
                    f"those of version {domain.serving} {serving_s:.3f} s",
                )

    def _failed(self, version: int, error: ServingError) -> ServingError:
        self._counts.failed(version)
        self._errors_in_a_row[version] = count = self._errors_in_a_row.get(version, 0) + 1
        if count >= ERRORS_IN_A_ROW and version not in self.left:
            self._leave(version, f"{count} errors in a row, the last: {error}")
        return error

    def _wait_for_the_silent(self, version: int, task: asyncio.Task[SegmenterOutput]) -> None:
        silent = self._silent.setdefault(version, set())
        silent.add(task)

        def end(task: asyncio.Task[SegmenterOutput]) -> None:
            silent.discard(task)
            if not task.cancelled():
                task.exception()  # seen: nobody waits for it any more

        task.add_done_callback(end)

    def _leave(self, version: int, why: str) -> None:
        _log.error("version %d, a candidate, gets no more frames: %s", version, why)
        self.left[version] = why

    def _patience_s(self, serving: int, deadline: float | None) -> float:
        serving_s = self._serving_p99_s.get(serving)
        patience_s = _LONGEST_PATIENCE_S if serving_s is None else max(_SHORTEST_PATIENCE_S, _SILENT_AFTER * serving_s)
        if deadline is None:
            return patience_s
        return min(patience_s, deadline - asyncio.get_running_loop().time() - (serving_s or 0.0))
