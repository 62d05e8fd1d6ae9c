"""A gateway on loopback around the fake segmenter, and frames whose labels are known in advance."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray
from roadshift.v1 import segmentation_pb2 as pb
from roadshift.v1 import segmentation_pb2_grpc as pb_grpc

from exchange.label_space import NUM_CLASSES, colorize
from server.assembly import Gateway, join_root, running_gateway
from server.engine_start import StartedEngine
from server.segmenter import FakeSegmenter
from server.settings import GatewaySettings

FRAME_SIZE_HW = (64, 128)


@dataclass
class Served:
    """A running gateway, its fake, and a plain channel to it."""

    gateway: Gateway
    segmenter: FakeSegmenter
    address: str
    channel: grpc.aio.Channel

    @property
    def stub(self) -> Any:
        return pb_grpc.SegmentationStub(self.channel)


class StartGateway(Protocol):
    async def __call__(self, segmenter: FakeSegmenter | None = None, **settings: Any) -> Served: ...


@pytest.fixture
async def start_gateway() -> AsyncIterator[StartGateway]:
    async with AsyncExitStack() as stack:

        async def start(segmenter: FakeSegmenter | None = None, **settings: Any) -> Served:
            segmenter = segmenter or FakeSegmenter(FRAME_SIZE_HW)
            chosen = GatewaySettings(**{"listen": "127.0.0.1:0", "metrics": "", "drain_s": 10.0, **settings})
            engine = StartedEngine(segmenter, 1)
            gateway = await stack.enter_async_context(running_gateway(chosen, engine, *join_root(chosen)))
            stack.callback(segmenter.gate.set)  # runs first: a held frame would keep the gateway from draining
            address = f"127.0.0.1:{gateway.port}"
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(address))
            return Served(gateway, segmenter, address, channel)

        yield start


@pytest.fixture
def known_labels() -> NDArray[np.uint8]:
    """Every class in blocks, uint8 [64, 128]: exactly the fake's frame size."""
    rows, columns = FRAME_SIZE_HW
    block_of_pixel = np.arange(rows)[:, None] // 8 * (columns // 8) + np.arange(columns)[None] // 8
    return (block_of_pixel % NUM_CLASSES).astype(np.uint8)


@pytest.fixture
def known_frame(known_labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The frame, uint8 RGB, that the fake labels with `known_labels`."""
    return colorize(known_labels)


@pytest.fixture
def frame_message(known_frame: NDArray[np.uint8]) -> pb.Frame:
    height, width = known_frame.shape[:2]
    return pb.Frame(data=known_frame.tobytes(), format="rgb8", frame_id="known", height=height, width=width)


async def eventually(condition: Callable[[], bool], within_s: float = 60.0) -> None:
    """Returns when the condition holds; fails when it does not come to hold."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come to hold"
        await asyncio.sleep(0.002)
