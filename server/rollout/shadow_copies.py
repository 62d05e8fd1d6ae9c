"""Shows a candidate frames that were answered already, and counts where it would have answered otherwise.

Only while the engine has nothing else to do: a copy is computed when no frame is in flight or waits, one at a time; and
only the latest few wait for that.
"""

import asyncio
import logging
import random
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from exchange.images.frame_fitting import fit_frame, restore_labels
from exchange.label_space import NUM_CLASSES
from server.admission import Admission
from server.errors import ServingError
from server.frames.image_decoding import decode
from server.frames.served_frame import ServedFrame
from server.rollout.candidates import Candidates
from server.rollout.version_counts import VersionCounts
from server.routing import CandidatePlan, Route, Router
from server.segmenter import Segmenter, SegmenterOutput

MAX_WAITING = 4

_log = logging.getLogger(__name__)


class ShadowCopies:
    """`served` is for each answered frame; `run` computes until it is cancelled."""

    def __init__(
        self,
        *,
        segmenter: Segmenter,
        router: Router,
        candidates: Candidates,
        admission: Admission,
        counts: VersionCounts,
        workers: ThreadPoolExecutor,
    ) -> None:
        self._segmenter = segmenter
        self._router = router
        self._candidates = candidates
        self._admission = admission
        self._counts = counts
        self._workers = workers
        self._waiting: deque[ServedFrame] = deque()
        self._some_wait = asyncio.Event()
        self.dropped = 0
        """Copies that gave way, since the start."""

    def served(self, frame: ServedFrame) -> None:
        candidate = self._candidate_for(frame)
        if candidate is None or random.random() >= candidate.shadow_share:  # noqa: S311 - no secret
            return
        if len(self._waiting) == MAX_WAITING:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(frame)
        self._some_wait.set()

    async def run(self) -> None:
        while True:
            await self._some_wait.wait()
            await self._admission.idle()
            frame = self._waiting.popleft()
            if not self._waiting:
                self._some_wait.clear()
            try:
                await self._label_again(frame)
            except ServingError as error:
                _log.info("a shadow copy failed: %s", error)
            except Exception:
                _log.exception("a shadow copy met a defect of the gateway")

    def _candidate_for(self, frame: ServedFrame) -> CandidatePlan | None:
        """The candidate to compare by, where the frame's labels are what the plan's version and prior give."""
        route = frame.answer.route
        plan = self._router.plan.of(route.domain)
        as_planned = (route.version, route.prior_id) == (plan.serving, plan.prior_id)
        if not as_planned or plan.candidate is None or not self._candidates.take(plan.candidate.version, plan.serving):
            return None
        return plan.candidate

    async def _label_again(self, frame: ServedFrame) -> None:
        candidate = self._candidate_for(frame)
        if candidate is None:  # the plan has changed since, or the candidate was left
            return
        size_hw = self._segmenter.ready_versions[candidate.version]
        frame_HW3, valid_hw = frame.frame_HW3, frame.valid_hw
        run = asyncio.get_running_loop().run_in_executor
        if frame_HW3.shape[:2] != size_hw:
            frame_HW3, valid_hw = await run(self._workers, lambda: fit_frame(decode(frame.request.frame), size_hw))
        route = Route(frame.answer.route.domain, candidate.version, candidate.prior_id, candidate.log_prior_ratio_K)
        started_s = time.perf_counter()
        output = await self._candidates.infer(route, frame.answer.route.version, frame_HW3, valid_hw, deadline=None)
        engine_s = time.perf_counter() - started_s
        compared_K, differing_K = await run(self._workers, _differences, frame, output, valid_hw)
        self._counts.shadowed(candidate.version, engine_s, compared_K, differing_K)


def _differences(
    frame: ServedFrame, output: SegmenterOutput, valid_hw: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pixels of the answer by class, int64 [K], and how many of each the shadow labelled otherwise."""
    rows, columns = frame.valid_hw
    answered_HW = frame.output.labels_HW[:rows, :columns]
    shadow_HW = restore_labels(output.labels_HW, valid_hw, frame.valid_hw)
    compared_K = np.bincount(answered_HW.ravel(), minlength=NUM_CLASSES)
    differing_K = np.bincount(answered_HW[answered_HW != shadow_HW], minlength=NUM_CLASSES)
    return compared_K, differing_K
