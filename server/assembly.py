"""Puts a gateway together and runs it until it is told to stop. Nothing else constructs its parts."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext, suppress
from typing import Literal

import cv2
import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from roadshift.v1 import segmentation_pb2, segmentation_pb2_grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from exchange.fleet.engine_busy import EngineBusyWriter
from exchange.fleet.gateways import VersionHealth
from exchange.metrics_port import serve_metrics
from exchange.net.call_errors import CallErrors
from exchange.net.listening import StartupError, check_free, open_port
from exchange.storage import StorageRoot
from server.admission import Admission
from server.background_call import in_background
from server.capture.heartbeat_writer import Vitals
from server.capture.root_link import RootLink, RootSettings
from server.engine_start import StartedEngine, started_engine
from server.gateway.access import Access
from server.gateway.frame_handler import FrameHandler
from server.gateway.health import HealthReport
from server.gateway.kserve_servicer import KserveServicer
from server.gateway.listening import new_server
from server.gateway.open_streams import OpenStreams
from server.gateway.segmentation_servicer import SegmentationServicer
from server.metrics import GatewayMetrics, GatewayState
from server.rollout.candidates import Candidates
from server.rollout.local_releases import LocalReleases
from server.rollout.plan_follower import PlanFollower, present_plan
from server.rollout.rollout import Rollout
from server.rollout.shadow_copies import ShadowCopies
from server.rollout.version_counts import VersionCounts
from server.routing import Router, ServingPlan
from server.settings import GatewaySettings
from server.tracing import Tracing, start_tracing

_log = logging.getLogger(__name__)
_SERVICES = (
    segmentation_pb2.DESCRIPTOR.services_by_name["Segmentation"].full_name,
    service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name,
)


class Gateway:
    """A running gateway, around a segmenter that is started and stopped by whoever gave it."""

    def __init__(
        self,
        settings: GatewaySettings,
        engine: StartedEngine,
        link: RootLink | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        """Raises StartupError where the yield file cannot be written, or what `settings.traces` needs is missing."""
        cv2.setNumThreads(1)  # the workers below are the threads; more would take cores from the engine
        self._settings = settings
        self._engine = engine
        self._workers = ThreadPoolExecutor(settings.workers, thread_name_prefix="codec")
        segmenter = engine.segmenter
        self.router = Router(ServingPlan.single_release(engine.version, settings.domains))
        self.admission = Admission(
            in_flight=settings.in_flight, queued=settings.queued, queued_per_vehicle=settings.queued_per_vehicle
        )
        self._counts = VersionCounts()
        self._candidates = Candidates(segmenter, self._counts)
        self._shadows = ShadowCopies(
            segmenter=segmenter,
            router=self.router,
            candidates=self._candidates,
            admission=self.admission,
            counts=self._counts,
            workers=self._workers,
        )
        self._load_troubles: dict[int, str] = {}
        self._busy = _engine_busy(settings)
        self.vitals = Vitals(
            plan_revision=lambda: self.router.plan.revision,
            versions=self._version_health,
            shadow_dropped=lambda: self._shadows.dropped,
            engine_busy_s=lambda: 0.0 if self._busy is None else self._busy.busy_s(),
        )
        self._tracing = tracing or start_tracing(settings.traces, link.gateway if link else settings.gateway or "")
        self.metrics = GatewayMetrics()
        self.metrics.registry.register(
            GatewayState(self.admission, self.router, segmenter, self.vitals, link, settings.run_dir)
        )
        handler = self._frame_handler(link)
        self._health = HealthReport(handler, _SERVICES)
        self._server = self._grpc_server(handler)
        self._tasks: list[asyncio.Task[None]] = []
        self._stop_metrics: Callable[[], None] = lambda: None
        self.port = 0
        self.metrics_port = 0

    def _frame_handler(self, link: RootLink | None) -> FrameHandler:
        return FrameHandler(
            segmenter=self._engine.segmenter,
            router=self.router,
            admission=self.admission,
            workers=self._workers,
            metrics=self.metrics,
            counts=self._counts,
            candidates=self._candidates,
            inferring=nullcontext if self._busy is None else self._busy.inferring,
            recorders=(self._counts, self._shadows, *((link,) if link else ())),
            tracing=self._tracing,
            max_frame_pixels=self._settings.max_frame_pixels,
        )

    def _grpc_server(self, handler: FrameHandler) -> grpc.aio.Server:
        settings = self._settings
        access = Access(
            client_certificates=settings.tls_client_ca is not None,
            token_file=settings.token_file,
            metrics=self.metrics,
            streams=settings.streams,
        )
        server = new_server(settings, access, CallErrors("gateway", self.metrics.registry))
        segmentation = SegmentationServicer(
            handler,
            stream_window=settings.queued_per_vehicle,
            stream_idle_s=settings.stream_idle_s,
            open_streams=OpenStreams(at_most=settings.streams, at_most_per_vehicle=settings.streams_per_vehicle),
        )
        segmentation_pb2_grpc.add_SegmentationServicer_to_server(segmentation, server)
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(KserveServicer(handler), server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health.servicer, server)
        reflection.enable_server_reflection((*_SERVICES, "grpc.health.v1.Health", reflection.SERVICE_NAME), server)
        return server

    async def start(self) -> None:
        """Opens the ports and answers.

        Raises:
            StartupError: a port is taken, or may not be opened without TLS.
        """
        self.port = open_port(self._server, self._settings)
        if self._settings.metrics:
            self.metrics_port, self._stop_metrics = serve_metrics(self._settings.metrics, self.metrics.registry)
        await self._health.report()
        self._tasks = [asyncio.create_task(self._health.follow()), asyncio.create_task(self._shadows.run())]
        await self._server.start()

    async def drain_and_stop(self) -> None:
        """Refuses what comes from now on, answers what was admitted, and closes.

        Frames that take far longer than those before them are ended as refused, for another gateway to answer.
        """
        self.admission.drain()
        await self._health.report()
        await self.admission.finish(self._settings.drain_s)
        await self._server.stop(grace=1.0)  # answers on their way out, streams that end
        for task in self._tasks:
            task.cancel()
        self._stop_metrics()
        await asyncio.to_thread(self._tracing.close)
        self._workers.shutdown(wait=False)

    def plan_follower(self, root: StorageRoot, releases: LocalReleases) -> PlanFollower:
        """Has this gateway serve what the root's plan says, from its `start` on."""
        rollout = Rollout(
            releases=releases,
            segmenter=self._engine.segmenter,
            router=self.router,
            candidates=self._candidates,
            counts=self._counts,
            troubles=self._load_troubles,
            unpublished=self._engine.unpublished,
        )
        return PlanFollower(root, releases, self.router, rollout, self._candidates)

    def _version_health(self) -> dict[int, VersionHealth]:
        segmenter = self._engine.segmenter
        ready = segmenter.ready_versions
        down = {
            version: "does not answer: being brought back"
            for version in segmenter.loaded_versions
            if version not in ready
        }
        return self._counts.health(ready, {**down, **self._load_troubles, **self._candidates.left})


def _engine_busy(settings: GatewaySettings) -> EngineBusyWriter | None:
    """Where there is a learner that could heed it."""
    path = settings.yield_file or (settings.run_dir / "engine_busy" if settings.root else None)
    try:
        return None if path is None else EngineBusyWriter(path)
    except OSError as error:
        raise StartupError(f"{path} cannot be written ({error.strerror}): choose another --yield-file") from error


@asynccontextmanager
async def running_gateway(
    settings: GatewaySettings,
    engine: StartedEngine,
    link: RootLink | None = None,
    releases: LocalReleases | None = None,
    tracing: Tracing | None = None,
) -> AsyncIterator[Gateway]:
    """A gateway that answers; drained and stopped at the end. With a root it follows the plan from there."""
    async with AsyncExitStack() as stack:
        gateway = Gateway(settings, engine, link, tracing)
        if link is not None and releases is not None:
            await stack.enter_async_context(link.joined(gateway.vitals))
            follower = gateway.plan_follower(link.hasty_root, releases)
            stack.push_async_callback(follower.stop)
            await follower.start()
        stack.push_async_callback(gateway.drain_and_stop)  # before the link hands on its last frames
        await gateway.start()
        yield gateway


def join_root(settings: GatewaySettings) -> tuple[RootLink, LocalReleases] | tuple[None, None]:
    """What ties the gateway to the root of the settings; nothing where they name none.

    Raises:
        StartupError: the root cannot be opened, or the gateway's own folder not be written.
    """
    if settings.root is None:
        return None, None
    link = RootLink(
        RootSettings(
            url=settings.root,
            folder=settings.run_dir / "spool",
            gateway=settings.gateway,
            pseudonym_key=settings.pseudonym_key,
            capture_interval_s=settings.capture_interval_s,
        )
    )
    try:
        return link, LocalReleases(settings.run_dir / "releases", link.root, link.hasty_root)
    except OSError as error:
        raise StartupError(f"{settings.run_dir} cannot be written ({error}): choose another --run-dir") from error


async def serve(settings: GatewaySettings, on_ready: Callable[[Gateway], None]) -> None:
    """Serves until SIGTERM or SIGINT, then drains; one that comes while the engine loads ends that.

    Raises:
        StartupError: one line that says what to change.
    """
    stop, ready = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    def announce(gateway: Gateway) -> None:
        ready.set()
        on_ready(gateway)

    stopping = asyncio.create_task(stop.wait())
    serving = asyncio.create_task(_serve_until(stopping, settings, announce))
    await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if ready.is_set() or serving.done():
        await serving
        return
    _log.info("ending before anything was served")
    serving.cancel()
    with suppress(asyncio.CancelledError):
        await serving


async def _serve_until(
    stopping: asyncio.Task[Literal[True]], settings: GatewaySettings, on_ready: Callable[[Gateway], None]
) -> None:
    check_free(settings.listen, "--listen")
    check_free(settings.metrics, "--metrics")
    link, releases = join_root(settings)
    plan = None
    if link is not None and releases is not None:
        root, kept = link.hasty_root, releases
        plan = await in_background(lambda: present_plan(root, kept))
    async with (
        started_engine(settings, releases, plan) as engine,
        running_gateway(settings, engine, link, releases) as gateway,
    ):
        on_ready(gateway)
        await asyncio.wait([stopping])
        _log.info("draining")
