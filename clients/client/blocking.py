"""The client for ordinary code: every call blocks until it is answered."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Self

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from roadshift.v1 import segmentation_pb2 as pb
from roadshift.v1 import segmentation_pb2_grpc as pb_grpc

from clients.client.connection import CHANNEL_OPTIONS, Attempts, Connection, RequestFailed, RetryBudget
from clients.client.frames import FrameSettings, FrameToSend
from clients.client.results import SegmentResult, StreamOutcome, segment_result, stream_outcome


class RoadshiftClient:
    """One vehicle's connection to a gateway. Safe to use from several threads.

    Args:
        connection: where the gateway is.
        timeout_s: for each frame, all attempts together.
        settings: vehicle_id, drive_id, domain, confidence and reduce_by, as in `FrameSettings`; for all frames unless
            a call says otherwise.
    """

    def __init__(self, connection: Connection | None = None, *, timeout_s: float = 10.0, **settings: Any) -> None:
        self._connection = connection or Connection()
        self._timeout_s = timeout_s
        self._settings = FrameSettings(**settings)
        self._budget = RetryBudget()
        credentials = self._connection.channel_credentials()
        address = self._connection.address
        if credentials is None:
            self._channel = grpc.insecure_channel(address, CHANNEL_OPTIONS)
        else:
            self._channel = grpc.secure_channel(address, credentials, CHANNEL_OPTIONS)
        self._stub = pb_grpc.SegmentationStub(self._channel)
        self._health = health_pb2_grpc.HealthStub(self._channel)

    def segment(self, frame: FrameToSend, **settings: Any) -> SegmentResult:
        """Labels one frame.

        Raises:
            RequestFailed: refused or unanswered after all attempts within the time.
            ValueError: not a frame.
        """
        request = replace(self._settings, **settings).request(frame.to_message())
        attempts = Attempts(self._timeout_s, self._budget, time.monotonic)
        while True:
            try:
                response = self._stub.Segment(request, timeout=attempts.remaining_s, metadata=self._connection.metadata)
            except grpc.RpcError as error:
                time.sleep(attempts.wait_before_next_s(error))
            else:
                self._budget.succeeded()
                return segment_result(response, frame.frame_id)

    def stream(
        self, frames: Iterable[FrameToSend], *, latest_wins: bool = False, **settings: Any
    ) -> Iterator[StreamOutcome]:
        """Labels frames one after the other, yielding each one's outcome in order; nothing is tried again.

        Raises:
            RequestFailed: the stream itself ended; frames without outcome were not answered.
        """
        opening = replace(self._settings, **settings).stream_settings(latest_wins)

        def messages() -> Iterator[pb.SegmentStreamRequest]:
            yield opening
            for frame in frames:
                yield pb.SegmentStreamRequest(frame=frame.to_message())

        try:
            for response in self._stub.SegmentStream(messages(), metadata=self._connection.metadata):
                yield stream_outcome(response)
        except grpc.RpcError as error:
            raise RequestFailed(error.code(), error.details() or "") from error

    def is_serving(self) -> bool:
        """Whether the gateway says that it labels frames now.

        Raises:
            RequestFailed: it cannot be asked.
        """
        request = health_pb2.HealthCheckRequest(service=pb.DESCRIPTOR.services_by_name["Segmentation"].full_name)
        try:
            response = self._health.Check(request, timeout=self._timeout_s, metadata=self._connection.metadata)
        except grpc.RpcError as error:
            raise RequestFailed(error.code(), error.details() or "") from error
        return bool(response.status == health_pb2.HealthCheckResponse.SERVING)

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
