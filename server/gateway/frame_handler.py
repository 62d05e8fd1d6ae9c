"""One frame's way through the gateway: route, look at the header, wait, decode, infer, encode."""

import asyncio
import dataclasses
import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exchange.images.frame_fitting import fit_frame
from exchange.net.logs import SeldomLog, current_ids, note_ids
from server.admission import Admission
from server.errors import (
    DeadlinePassed,
    Defect,
    EngineFailed,
    EngineUnavailable,
    NotFound,
    Overloaded,
    ServingError,
    Unavailable,
    VersionUnavailable,
)
from server.frames.frames import EncodedFrame, FrameAnswer, FrameRequest, StageSeconds
from server.frames.image_decoding import decode, read_size
from server.frames.served_frame import Recorder, ServedFrame
from server.gateway.answer_encoding import encode_maps, summarize
from server.metrics import GatewayMetrics
from server.rollout.candidates import Candidates
from server.rollout.version_counts import VersionCounts
from server.routing import DEFAULT_DOMAIN, Route, Router
from server.segmenter import Segmenter, SegmenterOutput
from server.tracing import FrameTrace, Tracing

_log = logging.getLogger(__name__)
_defects = SeldomLog(_log)
_DEADLINE_SLACK_S = 0.1
"""A caller's clock started with its call, ours when the call arrived: it hangs up a little before our deadline."""
_ENGINE_ERRORS = (EngineFailed, EngineUnavailable, VersionUnavailable)
PRIOR_OF_REQUEST = "request"
"""The prior id of an answer whose request brought its own ratio."""


class FrameHandler:
    """Decides what happens to a frame. `workers` decode and encode; the event loop does nothing slow itself."""

    def __init__(
        self,
        *,
        segmenter: Segmenter,
        router: Router,
        admission: Admission,
        workers: ThreadPoolExecutor,
        metrics: GatewayMetrics,
        counts: VersionCounts,
        candidates: Candidates,
        inferring: Callable[[], AbstractContextManager[None]],
        recorders: Collection[Recorder],
        tracing: Tracing,
        max_frame_pixels: int,
    ) -> None:
        """
        Args:
            inferring: entered around each inference that a caller waits for.
        """
        self.admission = admission
        self.segmenter = segmenter
        self.router = router
        self._workers = workers
        self._metrics = metrics
        self._counts = counts
        self._candidates = candidates
        self._inferring = inferring
        self._max_frame_pixels = max_frame_pixels
        self._recorders = recorders
        self._tracing = tracing

    @property
    def is_serving(self) -> bool:
        """True while the version that serves by default answers, and new frames are taken."""
        return (
            not self.admission.draining.is_set() and self.router.plan.default.serving in self.segmenter.ready_versions
        )

    @contextmanager
    def counting_refusals(self) -> Iterator[None]:
        """Around what comes before a frame can be read."""
        try:
            yield
        except ServingError as error:
            self._metrics.turned_away(error)
            raise

    async def answer(self, read_request: Callable[[], FrameRequest], *, trace_parent: str = "") -> FrameAnswer:
        """Labels one frame and counts how it ended.

        Args:
            read_request: the frame's request out of its message; may raise any ServingError.
            trace_parent: the caller's W3C traceparent, where it traces.

        Raises:
            ServingError: one of the tree in `server.errors`.
        """
        with self.counting_refusals():
            request = read_request()
        with self._tracing.frame(trace_parent) as trace:
            return await self._answer(request, trace)

    async def _answer(self, request: FrameRequest, trace: FrameTrace) -> FrameAnswer:
        self._metrics.frame_came(request.frame.format, len(request.frame.data))
        route, status = None, "INTERNAL"
        try:
            route = self._route(request)
            answer = await self._admit(request, trace)
            route, status = answer.route, "OK"
        except ServingError as error:
            status = error.status.name
            self._metrics.refused(error.reason)
            if route is not None and isinstance(error, _ENGINE_ERRORS):
                self._counts.failed((route.instead or route).version)
            if isinstance(error, EngineFailed):
                _log.warning("a frame of %s was not labelled: %s", request.domain or DEFAULT_DOMAIN, error)
            raise
        except asyncio.CancelledError:
            now = asyncio.get_running_loop().time()
            late = request.deadline is not None and request.deadline <= now + _DEADLINE_SLACK_S
            status, reason = ("DEADLINE_EXCEEDED", DeadlinePassed.reason) if late else ("CANCELLED", "cancelled")
            self._metrics.refused(reason)
            raise
        except Exception as error:
            _defects.error("a frame met a defect of the gateway", error)
            self._metrics.refused(Defect.reason)
            raise Defect from error
        finally:
            self._metrics.ended(route, status)
            trace.note(status=status)
        trace.note(domain=answer.route.domain, version=answer.route.version, prior=answer.route.prior_id)
        self._metrics.answered(answer)
        return answer

    def _route(self, request: FrameRequest) -> Route:
        route = self.router.route(request.domain, request.vehicle, request.drive)
        if request.version is not None:
            if request.version not in self.segmenter.loaded_versions:
                raise NotFound(f"version {request.version} is not loaded: name no version to get the one that serves")
            route = dataclasses.replace(route.instead or route, version=request.version)
        if request.log_prior_ratio_K is not None:
            route = route.with_prior(PRIOR_OF_REQUEST, request.log_prior_ratio_K)
        return route

    async def _admit(self, request: FrameRequest, trace: FrameTrace) -> FrameAnswer:
        arrived, ids = time.perf_counter(), current_ids()
        original_hw = read_size(request.frame, self._max_frame_pixels)
        return await self.admission.run(
            lambda: self._work(request, original_hw, arrived, trace, ids),
            vehicle=request.vehicle,
            deadline=request.deadline,
            latest_of=request.latest_of,
        )

    async def _work(
        self,
        request: FrameRequest,
        original_hw: tuple[int, int],
        arrived: float,
        trace: FrameTrace,
        ids: Mapping[str, str],
    ) -> FrameAnswer:
        note_ids(**ids)  # this task was begun by whichever frame ended before
        seconds = StageSeconds(queue=time.perf_counter() - arrived)
        trace.waited("queue", seconds.queue)
        stages = _Stages(seconds, trace)
        labeled = await self._label(request, self._route(request), stages)  # the plan may have changed while it waited
        output, valid_hw, loop = labeled.output, labeled.valid_hw, asyncio.get_running_loop()
        with stages.timed("encode"):
            (labels, confidence), (mean_confidence, class_fractions_K) = await loop.run_in_executor(
                self._workers,
                lambda: (encode_maps(output, request.options, valid_hw, original_hw), summarize(output, valid_hw)),
            )
        seconds.total = time.perf_counter() - arrived
        answer = FrameAnswer(
            labels=labels,
            confidence=confidence,
            route=labeled.route,
            mean_confidence=mean_confidence,
            class_fractions_K=class_fractions_K,
            presence_K=output.presence_K,
            mean_probability_K=output.mean_probability_K,
            stage_seconds=seconds,
        )
        served = ServedFrame.now(request, answer, output, labeled.frame_HW3, valid_hw, original_hw)
        for recorder in self._recorders:
            recorder.served(served)
        return answer

    async def _label(self, request: FrameRequest, route: Route, stages: "_Stages") -> "_Labeled":
        """By the candidate where the frame is one of its share; by the version that serves, where not or it fails."""
        if route.instead is not None:
            if self._candidates.take(route.version, route.instead.version, request.deadline):
                with suppress(EngineFailed, Unavailable, Overloaded):
                    return await self._label_by(request, route, stages)
            route = route.instead
        return await self._label_by(request, route, stages)

    async def _label_by(self, request: FrameRequest, route: Route, stages: "_Stages") -> "_Labeled":
        frame_size_hw = self.segmenter.ready_versions.get(route.version)
        if frame_size_hw is None:
            raise VersionUnavailable(f"version {route.version} does not answer just now: try again")
        loop = asyncio.get_running_loop()
        with stages.timed("decode"), self.segmenter.expecting():
            frame_HW3, valid_hw = await loop.run_in_executor(
                self._workers, _decode_and_fit, request.frame, frame_size_hw
            )
        if request.deadline is not None and request.deadline <= loop.time():
            raise DeadlinePassed("the deadline passed before the frame reached the engine")
        with stages.timed("infer"), self._inferring():
            if route.instead is None:
                output = await self.segmenter.infer(route.version, frame_HW3, route.log_prior_ratio_K, valid_hw)
            else:
                output = await self._candidates.infer(
                    route, route.instead.version, frame_HW3, valid_hw, request.deadline
                )
        return _Labeled(route, frame_HW3, valid_hw, output)


@dataclass(frozen=True)
class _Labeled:
    route: Route
    frame_HW3: NDArray[np.uint8]
    valid_hw: tuple[int, int]
    output: SegmenterOutput


def _decode_and_fit(frame: EncodedFrame, frame_size_hw: tuple[int, int]) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    return fit_frame(decode(frame), frame_size_hw)


@dataclass(frozen=True)
class _Stages:
    """Of one frame's way: how long each takes, and its part of the trace."""

    seconds: StageSeconds
    trace: FrameTrace

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        with self.trace.stage(stage):
            yield
        setattr(self.seconds, stage, time.perf_counter() - started)
