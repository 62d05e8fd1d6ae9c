"""The client for asyncio; the same calls as `clients.client.blocking`."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from typing import Any, Self

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from roadshift.v1 import segmentation_pb2 as pb
from roadshift.v1 import segmentation_pb2_grpc as pb_grpc

from clients.client.connection import HEALTH_REQUEST, Attempts, Connection, RequestFailed, RetryBudget
from clients.client.frames import FrameSettings, FrameToSend, Image
from clients.client.results import SegmentResult, StreamOutcome, segment_result, stream_outcome
from exchange.net.calling import call_details


class AsyncRoadshiftClient:
    """One vehicle's connection to a gateway, within one event loop; arguments as for `RoadshiftClient`."""

    def __init__(
        self,
        connection: Connection | None = None,
        settings: FrameSettings | None = None,
        *,
        timeout_s: float = 10.0,
        budget: RetryBudget | None = None,
    ) -> None:
        self._connection = connection or Connection()
        self._timeout_s = timeout_s
        self._settings = settings or FrameSettings()
        self._budget = budget or RetryBudget()
        self._channel = self._connection.open_aio_channel()
        self._stub = pb_grpc.SegmentationStub(self._channel)
        self._health: Any = health_pb2_grpc.HealthStub(self._channel)

    async def segment(self, image: Image | FrameToSend, settings: FrameSettings | None = None) -> SegmentResult:
        """Labels one frame: a JPEG or PNG file's bytes or path, RGB pixels, or these with id and capture time.

        Raises:
            RequestFailed: refused or unanswered after all attempts within the time.
            ValueError: not a frame.
        """
        frame = image if isinstance(image, FrameToSend) else FrameToSend(image)
        request = (settings or self._settings).request(frame.to_message())
        attempts = Attempts(self._timeout_s, self._budget, asyncio.get_running_loop().time, self._connection.address)
        while True:
            try:
                response = await self._stub.Segment(
                    request, timeout=attempts.remaining_s, metadata=self._connection.metadata
                )
            except grpc.aio.AioRpcError as error:
                await asyncio.sleep(attempts.wait_before_next_s(error))
            else:
                self._budget.succeeded()
                return segment_result(response, frame.frame_id)

    async def stream(
        self, frames: AsyncIterable[FrameToSend], settings: FrameSettings | None = None, *, latest_wins: bool = False
    ) -> AsyncIterator[StreamOutcome]:
        """Labels frames one after the other, yielding each one's outcome in order; nothing is tried again.

        What is no frame is refused alone.

        Raises:
            RequestFailed: the stream itself ended; frames without outcome were not answered.
        """
        opening = (settings or self._settings).stream_settings(latest_wins)

        async def messages() -> AsyncIterator[pb.SegmentStreamRequest]:
            yield opening
            async for frame in frames:
                yield frame.to_stream_message()

        try:
            async for response in self._stub.SegmentStream(messages(), metadata=self._connection.metadata):
                yield stream_outcome(response)
        except grpc.aio.AioRpcError as error:
            raise RequestFailed(error.code(), call_details(error, self._connection.address)) from error

    async def is_serving(self) -> bool:
        """Whether the gateway says that it labels frames now.

        Raises:
            RequestFailed: it cannot be asked.
        """
        try:
            response = await self._health.Check(
                HEALTH_REQUEST, timeout=self._timeout_s, metadata=self._connection.metadata
            )
        except grpc.aio.AioRpcError as error:
            raise RequestFailed(error.code(), call_details(error, self._connection.address)) from error
        return bool(response.status == health_pb2.HealthCheckResponse.SERVING)

    async def close(self) -> None:
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
