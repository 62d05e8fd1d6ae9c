"""grpc.health.v1 for each service: SERVING only while the version that serves by default really answers."""

import asyncio

from grpc_health.v1 import health_pb2
from grpc_health.v1.health import OVERALL_HEALTH
from grpc_health.v1.health import aio as health_aio

from server.gateway.frame_handler import FrameHandler

_LOOK_EVERY_S = 0.2


class HealthReport:
    """Follows the handler until it is told to stop; then NOT_SERVING for good."""

    def __init__(self, handler: FrameHandler, services: tuple[str, ...]) -> None:
        self.servicer = health_aio.HealthServicer()
        self._handler = handler
        self._services = (OVERALL_HEALTH, *services)

    async def follow(self) -> None:
        """Runs until cancelled."""
        while True:
            await self.report()
            await asyncio.sleep(_LOOK_EVERY_S)

    async def report(self) -> None:
        """Says how it is now."""
        serving = self._handler.is_serving
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in self._services:
            await self.servicer.set(service, status)
