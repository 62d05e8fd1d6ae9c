"""What is put under load: four ways to the same engine, each asked for one frame's labels at a time."""

import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import grpc
import numpy as np
from roadshift.v1 import segmentation_pb2 as pb
from roadshift.v1 import segmentation_pb2_grpc as pb_grpc

from benchmarks.serving.engine import BareEngine
from benchmarks.serving.known_frames import KnownFrame, Labels
from exchange.label_space import NUM_CLASSES
from exchange.net.proxies import channel_options
from server.triton.assembly import start_embedded

TIMEOUT_S = 10.0
"""How long a vehicle waits for an answer."""
_HTTP_REFUSALS = (429, 503, 504)
_HTTP_RETRY_AFTER_S = 0.1
_OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]  # vehicles share none


class Refused(Exception):
    """The answer is no; `retry_after_s` is when to ask again."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__()
        self.retry_after_s = retry_after_s


class Lost(Exception):
    """Neither labels nor a refusal; the message says what came instead."""


@dataclass(frozen=True)
class Request:
    vehicle: int
    frame_id: str
    frame: KnownFrame


@dataclass(frozen=True)
class Answer:
    frame_id: str
    labels: Labels


Ask = Callable[[Request], Awaitable[Answer]]
"""Raises Refused or Lost."""


class Target(Protocol):
    def open(self, vehicles: int) -> AbstractAsyncContextManager[tuple[Ask, int]]:
        """How to ask, and the process that, with its descendants, answers."""


@dataclass(frozen=True)
class EngineTarget:
    """The bare engine in a loop, in the load's own process; frames were decoded and fitted before."""

    release: Path

    @asynccontextmanager
    async def open(self, vehicles: int) -> AsyncIterator[tuple[Ask, int]]:
        engine = _compiled(self.release)

        async def ask(request: Request) -> Answer:
            return Answer(request.frame_id, engine.label(request.frame.frame_HW3, request.frame.valid_hw))

        yield ask, os.getpid()


@cache
def _compiled(release: Path) -> BareEngine:
    """Once for all rounds of a process."""
    return BareEngine(release)


@dataclass(frozen=True)
class TritonTarget:
    """Triton through shared memory, by the gateway's own segmenter, without a gateway around it."""

    release: Path

    @asynccontextmanager
    async def open(self, vehicles: int) -> AsyncIterator[tuple[Ask, int]]:
        no_adjustment_K = np.zeros(NUM_CLASSES, np.float32)
        with tempfile.TemporaryDirectory() as run_dir:
            triton = await start_embedded(self.release, run_dir=Path(run_dir), frames_in_flight=vehicles)

            async def ask(request: Request) -> Answer:
                frame = request.frame
                output = await triton.segmenter.infer(1, frame.frame_HW3, no_adjustment_K, frame.valid_hw)
                return Answer(request.frame_id, output.labels_HW)

            try:
                yield ask, os.getpid()
            finally:
                await triton.close()


@dataclass(frozen=True)
class GatewayTarget:
    """The whole path: a JPEG to `roadshift serve`, a palette PNG back."""

    address: str
    pid: int

    @asynccontextmanager
    async def open(self, vehicles: int) -> AsyncIterator[tuple[Ask, int]]:
        async with AsyncExitStack() as stack:
            options = [*_OWN_CONNECTION, *channel_options(self.address)]
            channels = [grpc.aio.insecure_channel(self.address, options=options) for _ in range(vehicles)]
            stubs: list[Any] = [
                pb_grpc.SegmentationStub(await stack.enter_async_context(channel)) for channel in channels
            ]

            async def ask(request: Request) -> Answer:
                message = pb.SegmentRequest(
                    vehicle_id=f"car-{request.vehicle}",
                    frame=pb.Frame(frame_id=request.frame_id, format="jpeg", data=request.frame.jpeg),
                )
                try:
                    response = await stubs[request.vehicle].Segment(message, timeout=TIMEOUT_S)
                except grpc.aio.AioRpcError as error:
                    if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                        hint_ms = dict(error.trailing_metadata() or ())["retry-after-ms"]
                        raise Refused(int(hint_ms) / 1000) from None
                    raise Lost(f"{error.code().name}: {error.details()}") from None
                return Answer(response.frame_id, response.labels.data)

            yield ask, self.pid


@dataclass(frozen=True)
class LitServeTarget:
    """LitServe around the same engine: a JPEG posted, a palette PNG back."""

    url: str
    pid: int

    @asynccontextmanager
    async def open(self, vehicles: int) -> AsyncIterator[tuple[Ask, int]]:
        connections = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(connector=connections, timeout=timeout) as session:

            async def ask(request: Request) -> Answer:
                try:
                    async with session.post(
                        f"{self.url}/predict",
                        data=request.frame.jpeg,
                        headers={"Content-Type": "application/octet-stream"},
                    ) as response:
                        body = await response.read()
                except (aiohttp.ClientError, TimeoutError) as error:
                    raise Lost(repr(error)) from None
                if response.status in _HTTP_REFUSALS:
                    raise Refused(_HTTP_RETRY_AFTER_S)
                if response.status != 200:
                    raise Lost(f"HTTP {response.status}: {body[:200]!r}")
                return Answer(request.frame_id, body)  # HTTP pairs answers with requests by connection

            yield ask, self.pid
