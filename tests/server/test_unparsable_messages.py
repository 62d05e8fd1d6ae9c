"""Bytes that are no message, and defects, at every service of the gateway."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
import pytest
from roadshift.v1 import segmentation_pb2 as pb
from tritonclient.grpc import service_pb2 as kserve

from tests.gateways import Served, StartGateway

JUNK = b"\x0a\xff\xff\xff\xff\x0fjunk"
UNARY = (
    "/roadshift.v1.Segmentation/Segment",
    "/inference.GRPCInferenceService/ModelInfer",
    "/inference.GRPCInferenceService/ServerLive",
    "/inference.GRPCInferenceService/ModelConfig",
    "/grpc.health.v1.Health/Check",
)
STREAMS = (
    "/roadshift.v1.Segmentation/SegmentStream",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
)


def unparsable(served: Served, service: str) -> float | None:
    registry = served.gateway.metrics.registry
    return registry.get_sample_value("roadshift_unparsable_messages_total", {"service": service})


@pytest.fixture
def logged() -> Iterator[list[logging.LogRecord]]:
    """What this process logs from here on."""
    records: list[logging.LogRecord] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    handler = Keeping(logging.WARNING)
    logging.getLogger().addHandler(handler)
    yield records
    logging.getLogger().removeHandler(handler)


def lines(logged: list[logging.LogRecord]) -> list[str]:
    return [record.getMessage() for record in logged]


@pytest.mark.parametrize("path", UNARY)
async def test_bytes_that_are_no_message_are_the_callers_mistake(
    start_gateway: StartGateway, frame_message: pb.Frame, logged: list[logging.LogRecord], path: str
) -> None:
    served = await start_gateway()
    call: Any = served.channel.unary_unary(path)
    for _ in range(20):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(JUNK)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "no message of this call" in (refused.value.details() or "")
    assert unparsable(served, path.split("/")[1]) == 20
    assert len(lines(logged)) == 1
    assert not any(record.exc_info for record in logged)
    assert (await served.stub.Segment(pb.SegmentRequest(frame=frame_message))).frame_id == "known"


@pytest.mark.parametrize("path", STREAMS)
async def test_bytes_that_are_no_message_end_a_stream(
    start_gateway: StartGateway, logged: list[logging.LogRecord], path: str
) -> None:
    served = await start_gateway()
    call: Any = served.channel.stream_stream(path)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        async for _ in call(one(JUNK)):
            pass
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert unparsable(served, path.split("/")[1]) == 1
    assert len(lines(logged)) == 1


async def test_watched_health_is_not_asked_for_with_such_bytes_either(start_gateway: StartGateway) -> None:
    served = await start_gateway()
    call: Any = served.channel.unary_stream("/grpc.health.v1.Health/Watch")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        async for _ in call(JUNK):
            pass
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_defect_is_logged_once_a_minute_and_counted_each_time(
    start_gateway: StartGateway, frame_message: pb.Frame, logged: list[logging.LogRecord]
) -> None:
    served = await start_gateway()
    served.segmenter.versions[1] = (0, 0)  # no frame can be fitted into this
    calls = (served.stub.Segment(pb.SegmentRequest(frame=frame_message)) for _ in range(5))
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert {error.code() for error in ended if isinstance(error, grpc.aio.AioRpcError)} == {grpc.StatusCode.INTERNAL}
    assert sum("defect" in line for line in lines(logged)) <= 1  # of this process, in which others may have come before
    refused = served.gateway.metrics.registry.get_sample_value("roadshift_refused_total", {"reason": "internal"})
    assert refused == 5


def _frame(frame: pb.Frame, change: Callable[[pb.SegmentRequest], object]) -> pb.SegmentRequest:
    request = pb.SegmentRequest(frame=frame)
    change(request)
    return request


@pytest.mark.parametrize(
    "change",
    [
        lambda request: setattr(request.frame.timestamp, "nanos", -1),
        lambda request: setattr(request.frame.timestamp, "seconds", 2**62),
        lambda request: setattr(request.frame, "frame_id", "a\nb"),
        lambda request: setattr(request.frame, "format", "x" * 1_000_000),
        lambda request: setattr(request, "vehicle_id", "\x00"),
        lambda request: setattr(request, "drive_id", "\x1b[31m"),
        lambda request: setattr(request, "domain", "Z" * 1_000_000),
    ],
)  # fmt: skip
async def test_absurd_values_are_refused_in_a_line(
    start_gateway: StartGateway, frame_message: pb.Frame, change: Callable[[pb.SegmentRequest], object]
) -> None:
    served = await start_gateway()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await served.stub.Segment(_frame(frame_message, change))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert len(refused.value.details() or "") < 300


@pytest.mark.parametrize(
    "change",
    [
        lambda request: setattr(request.inputs[0], "datatype", "x" * 1_000_000),
        lambda request: request.inputs[0].shape.extend([2**62] * 100_000),
        lambda request: request.outputs.extend([kserve.ModelInferRequest.InferRequestedOutputTensor(name="LABEL")] * 9),
        lambda request: request.inputs.extend([request.inputs[0]] * 9),
        lambda request: setattr(request, "id", "x" * 1_000_000),
        lambda request: setattr(request.parameters["domain"], "string_param", "a\nb"),
    ],
)
async def test_absurd_tensors_are_refused_in_a_line(
    start_gateway: StartGateway, change: Callable[[kserve.ModelInferRequest], object]
) -> None:
    served = await start_gateway()
    request = kserve.ModelInferRequest(model_name="segmenter")
    tensor = request.inputs.add(name="FRAME", datatype="UINT8", shape=(2, 2, 3))
    tensor.contents.uint_contents.extend(range(12))
    change(request)
    call: Any = served.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call(request.SerializeToString())
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert len(refused.value.details() or "") < 300


async def one(data: bytes) -> AsyncIterator[bytes]:
    yield data
