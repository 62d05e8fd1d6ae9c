"""Puts a gateway together and runs it until it is told to stop. Nothing else constructs its parts."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager

import cv2
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import start_http_server
from roadshift.v1 import segmentation_pb2, segmentation_pb2_grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from exchange.listening import StartupError, check_free, open_port
from exchange.releases import ReleaseError, verify_release
from server.capture.root_link import RootLink, RootSettings
from server.capture.served_frame import Recorder
from server.gateway.access import Access
from server.gateway.admission import Admission
from server.gateway.frame_handler import FrameHandler
from server.gateway.health import HealthReport
from server.gateway.kserve_servicer import KserveServicer
from server.gateway.listening import new_server
from server.gateway.segmentation_servicer import SegmentationServicer
from server.metrics import GatewayMetrics, GatewayState
from server.routing import Router, ServingPlan
from server.segmenter import FakeSegmenter, Segmenter
from server.settings import GatewaySettings

_log = logging.getLogger(__name__)
_SERVICES = (
    segmentation_pb2.DESCRIPTOR.services_by_name["Segmentation"].full_name,
    service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name,
)


class Gateway:
    """A running gateway, around a segmenter that is started and stopped by whoever gave it."""

    def __init__(
        self, settings: GatewaySettings, segmenter: Segmenter, plan: ServingPlan, recorder: Recorder | None = None
    ) -> None:
        cv2.setNumThreads(1)  # the workers below are the threads; more would take cores from the engine
        self._settings = settings
        self._workers = ThreadPoolExecutor(settings.workers, thread_name_prefix="codec")
        self.router = Router(plan)
        self.admission = Admission(
            in_flight=settings.in_flight, queued=settings.queued, queued_per_vehicle=settings.queued_per_vehicle
        )
        self.metrics = GatewayMetrics()
        self.metrics.registry.register(GatewayState(self.admission, self.router, segmenter))
        handler = FrameHandler(
            segmenter=segmenter,
            router=self.router,
            admission=self.admission,
            workers=self._workers,
            metrics=self.metrics,
            max_frame_pixels=settings.max_frame_pixels,
            recorder=recorder,
        )
        access = Access(client_certificates=settings.tls_client_ca is not None, token_file=settings.token_file)
        self._health = HealthReport(handler, _SERVICES)
        self._server = new_server(settings)
        segmentation = SegmentationServicer(handler, access, stream_window=settings.queued_per_vehicle)
        segmentation_pb2_grpc.add_SegmentationServicer_to_server(segmentation, self._server)
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(KserveServicer(handler, access), self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health.servicer, self._server)
        reflection.enable_server_reflection(
            (*_SERVICES, "grpc.health.v1.Health", reflection.SERVICE_NAME), self._server
        )
        self._following: asyncio.Task[None] | None = None
        self._stop_metrics: Callable[[], None] = lambda: None
        self.port = 0
        self.metrics_port = 0

    async def start(self) -> None:
        """Opens the ports and answers.

        Raises:
            StartupError: a port is taken, or may not be opened without TLS.
        """
        self.port = open_port(self._server, self._settings)
        self._open_metrics()
        await self._health.report()
        self._following = asyncio.create_task(self._health.follow())
        await self._server.start()

    async def drain_and_stop(self) -> None:
        """Refuses what comes from now on, answers what was admitted, and closes."""
        self.admission.drain()
        await self._health.report()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.admission.idle(), self._settings.drain_s)
        await self._server.stop(grace=1.0)  # answers on their way out, streams that end
        if self._following is not None:
            self._following.cancel()
        self._stop_metrics()
        self._workers.shutdown(wait=False)

    def _open_metrics(self) -> None:
        if not self._settings.metrics:
            return
        host, _, port = self._settings.metrics.rpartition(":")
        try:
            http, thread = start_http_server(int(port), host, self.metrics.registry)
        except (OSError, ValueError) as error:
            raise StartupError(
                f"cannot serve metrics on {self._settings.metrics} ({error}): choose another --metrics, or '' for none"
            ) from error
        self.metrics_port = http.server_port

        def stop() -> None:
            http.shutdown()
            http.server_close()
            thread.join()

        self._stop_metrics = stop


@asynccontextmanager
async def running_gateway(settings: GatewaySettings, segmenter: Segmenter, plan: ServingPlan) -> AsyncIterator[Gateway]:
    """A gateway that answers; drained and stopped at the end."""
    async with AsyncExitStack() as stack:
        link = None if settings.root is None else RootLink(_root_settings(settings, settings.root))
        gateway = Gateway(settings, segmenter, plan, link)
        if link is not None:
            await stack.enter_async_context(link.joined(gateway.router, segmenter))
        stack.push_async_callback(gateway.drain_and_stop)  # before the link hands on its last frames
        await gateway.start()
        yield gateway


def _root_settings(settings: GatewaySettings, url: str) -> RootSettings:
    return RootSettings(
        url=url,
        folder=settings.run_dir / "spool",
        gateway=settings.gateway,
        pseudonym_key=settings.pseudonym_key,
        capture_interval_s=settings.capture_interval_s,
    )


@asynccontextmanager
async def _open_segmenter(settings: GatewaySettings) -> AsyncIterator[tuple[Segmenter, int]]:
    """The segmenter that the settings name, and the version that it serves."""
    if settings.fake:
        yield FakeSegmenter(latency_s=settings.fake_latency_s), 1
        return
    from server.triton.assembly import connect_external, start_embedded
    from server.triton.installation import TritonSetupError
    from server.triton.repository import RepositoryError
    from server.triton.versions import VersionLoadFailed

    try:
        version = verify_release(settings.release).version or 1
        if settings.triton is None:
            triton = await start_embedded(
                settings.release, run_dir=settings.run_dir, version=version, frames_in_flight=settings.in_flight
            )
        elif settings.triton_repository is None:
            raise StartupError("--triton needs --triton-repository: the folder that the external Triton reads")
        else:
            triton = await connect_external(
                settings.triton,
                settings.triton_repository,
                settings.release,
                version=version,
                frames_in_flight=settings.in_flight,
            )
    except (ReleaseError, RepositoryError, TritonSetupError, VersionLoadFailed, OSError) as error:
        raise StartupError(str(error)) from error
    try:
        yield triton.segmenter, version
    finally:
        await triton.close()


async def serve(settings: GatewaySettings, on_ready: Callable[[Gateway], None]) -> None:
    """Serves until SIGTERM or SIGINT, then drains.

    Raises:
        StartupError: one line that says what to change.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    check_free(settings.listen, "--listen")
    check_free(settings.metrics, "--metrics")
    async with _open_segmenter(settings) as (segmenter, version):
        plan = ServingPlan.single_release(version, settings.domains)
        async with running_gateway(settings, segmenter, plan) as gateway:
            on_ready(gateway)
            await stop.wait()
            _log.info("draining")
