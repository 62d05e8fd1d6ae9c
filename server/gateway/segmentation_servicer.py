"""`roadshift.v1.Segmentation`: translates between the wire and the frame handler."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

from roadshift.v1 import segmentation_pb2 as pb
from roadshift.v1 import segmentation_pb2_grpc as pb_grpc

from exchange.net.guarded_calls import Context
from server.errors import Draining, InvalidRequest, Overtaken, ServingError, StreamIdle
from server.gateway.access import Answering, deadline_of, trace_parent
from server.gateway.converters import frame_error, frame_request, segment_response, stream_frame_request
from server.gateway.frame_handler import FrameHandler
from server.gateway.open_streams import OpenStreams
from server.gateway.ordered_stream import in_order

_LATEST_WINS_WINDOW = 64
"""Frames of a latest-wins stream whose outcome, mostly 'skipped', was not sent yet."""
_SETTINGS_WITHIN_S = 10.0
"""Of a stream that was opened: until then nobody knows whose it is."""


class SegmentationServicer(pb_grpc.SegmentationServicer):
    def __init__(
        self,
        handler: FrameHandler,
        *,
        stream_window: int,
        stream_idle_s: float,
        open_streams: OpenStreams,
    ) -> None:
        self._handler = handler
        self._stream_idle_s = stream_idle_s
        self._open_streams = open_streams
        self._stream_window = stream_window

    async def Segment(self, request: pb.SegmentRequest, context: Context) -> pb.SegmentResponse:  # noqa: N802
        async with Answering(context):
            answer = await self._handler.answer(
                lambda: frame_request(request, context.peer(), deadline_of(context)), trace_parent=trace_parent(context)
            )
            return segment_response(request.frame, answer)

    async def SegmentStream(  # noqa: N802
        self, request_iterator: AsyncIterator[pb.SegmentStreamRequest], context: Context
    ) -> AsyncIterator[pb.SegmentStreamResponse]:
        async with Answering(context):
            stream = _Stream(self._handler, context, self._open_streams)
            outcomes = in_order(
                stream.frames(request_iterator, self._stream_idle_s),
                stream.outcome,
                window=lambda: _LATEST_WINS_WINDOW if stream.latest_wins else self._stream_window,
                stop=self._handler.admission.draining,
            )
            with self._handler.counting_refusals(), self._open_streams.held(stream):
                async with aclosing(outcomes):  # a vehicle that hangs up leaves no frame waiting
                    async for outcome in outcomes:
                        yield outcome
            if self._handler.admission.draining.is_set():
                raise Draining("this gateway is shutting down: go on with another one")


class _Stream:
    """One stream's settings, as they change, and the outcome of each of its frames."""

    def __init__(self, handler: FrameHandler, context: Context, open_streams: OpenStreams) -> None:
        self._handler = handler
        self._peer = context.peer()
        self._deadline = deadline_of(context)
        self._trace_parent = trace_parent(context)
        self._open_streams = open_streams
        self._settings: pb.StreamSettings | None = None

    @property
    def latest_wins(self) -> bool:
        return self._settings is not None and self._settings.latest_wins

    async def frames(
        self, messages: AsyncIterator[pb.SegmentStreamRequest], idle_s: float
    ) -> AsyncIterator[pb.SegmentRequest]:
        async for message in _unless_idle(messages, idle_s):
            match message.WhichOneof("kind"):
                case "settings":
                    self._settings = message.settings
                    self._open_streams.name(self, message.settings.vehicle_id or self._peer)
                case "frame" if self._settings is not None:
                    yield stream_frame_request(self._settings, message.frame)
                case _:
                    raise InvalidRequest("send the stream's settings first, then frames")

    async def outcome(self, request: pb.SegmentRequest) -> pb.SegmentStreamResponse:
        response = pb.SegmentStreamResponse(frame_id=request.frame.frame_id)
        try:
            latest_of = self if self.latest_wins else None
            answer = await self._handler.answer(
                lambda: frame_request(request, self._peer, self._deadline, latest_of), trace_parent=self._trace_parent
            )
            response.answer.CopyFrom(segment_response(request.frame, answer))
        except Overtaken:
            response.skipped.SetInParent()
        except ServingError as error:
            response.error.CopyFrom(frame_error(error))
        return response


async def _unless_idle(
    messages: AsyncIterator[pb.SegmentStreamRequest], idle_s: float
) -> AsyncIterator[pb.SegmentStreamRequest]:
    patience_s = min(idle_s, _SETTINGS_WITHIN_S)
    while True:
        try:
            async with asyncio.timeout(patience_s):
                message = await anext(messages)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise StreamIdle(
                f"the stream sent nothing for {patience_s:g} s: open another when there are frames"
            ) from None
        yield message
        patience_s = idle_s
