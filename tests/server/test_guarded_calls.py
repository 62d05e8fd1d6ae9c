"""Callers that show nothing, send nothing or hold on do not keep the gateway from those who drive."""

import asyncio
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from roadshift.v1 import segmentation_pb2 as pb

from tests.gateways import Served, StartGateway, eventually
from tests.stalled_calls import StalledCalls, message_head

SEGMENT = "/roadshift.v1.Segmentation/Segment"
MODEL_INFER = "/inference.GRPCInferenceService/ModelInfer"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
CHECK, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
READY = "/inference.GRPCInferenceService/ServerReady"
ROAD, DESK = "road-secret", "desk-secret"
VEHICLE = (("authorization", f"Bearer {ROAD}"),)
MANY = 600
SERVING = health_pb2.HealthCheckResponse.SERVING


async def with_tokens(start_gateway: StartGateway, folder: Path, **settings: object) -> Served:
    tokens = folder / "tokens"
    tokens.write_text(f"vehicle {ROAD}\noperator {DESK}\n")
    return await start_gateway(token_file=tokens, **settings)


async def stalled(stack: ExitStack, served: Served, method: str, calls: int = MANY, **options: object) -> StalledCalls:
    """Calls that the server has heard of."""
    begun = await asyncio.to_thread(StalledCalls, served.gateway.port, method, calls, **options)
    stack.callback(begun.close)
    await asyncio.to_thread(begun.wait_until_heard)
    return begun


async def answers_a_vehicle(served: Served, frame: pb.Frame) -> bool:
    answer = await served.stub.Segment(pb.SegmentRequest(frame=frame, vehicle_id="car-1"), metadata=VEHICLE)
    return bool(answer.frame_id == "known")


async def health(served: Served) -> int:
    return (await health_pb2_grpc.HealthStub(served.channel).Check(health_pb2.HealthCheckRequest())).status


@pytest.mark.parametrize("method", [SEGMENT, MODEL_INFER, REFLECTION, CHECK, WATCH, READY])
async def test_calls_without_token_or_message_leave_vehicles_and_health_checks_their_places(
    start_gateway: StartGateway, tmp_path: Path, frame_message: pb.Frame, method: str
) -> None:
    served = await with_tokens(start_gateway, tmp_path)
    with ExitStack() as stack:
        await stalled(stack, served, method)
        for _ in range(100):  # while the server goes through the calls that it has heard of, and after
            assert await answers_a_vehicle(served, frame_message)
            assert await health(served) == SERVING


@pytest.mark.parametrize("method", [SEGMENT, MODEL_INFER, REFLECTION])
async def test_who_shows_nothing_is_refused_before_a_message_comes(
    start_gateway: StartGateway, tmp_path: Path, method: str
) -> None:
    served = await with_tokens(start_gateway, tmp_path)
    refused = served.gateway.metrics.registry.get_sample_value
    with ExitStack() as stack:
        await stalled(stack, served, method, 40)
        await eventually(lambda: refused("roadshift_refused_total", {"reason": "unauthenticated"}) == 40)


@pytest.mark.parametrize("token", ["", ROAD])
async def test_a_message_of_45_mb_that_stalls_is_cut(
    start_gateway: StartGateway, tmp_path: Path, frame_message: pb.Frame, token: str
) -> None:
    served = await with_tokens(start_gateway, tmp_path)
    with ExitStack() as stack:
        begun = message_head(45_000_000) + bytes(1000)
        calls = await stalled(stack, served, SEGMENT, 40, begun=begun, token=token)
        await asyncio.to_thread(calls.wait_for_ends)
        assert await answers_a_vehicle(served, frame_message)


async def test_vehicles_that_stall_leave_operators_and_health_checks_their_places(
    start_gateway: StartGateway, tmp_path: Path
) -> None:
    served = await with_tokens(start_gateway, tmp_path)
    with ExitStack() as stack:
        await stalled(stack, served, SEGMENT, token=ROAD)
        await stalled(stack, served, "/roadshift.v1.Segmentation/SegmentStream", token=ROAD)
        assert await health(served) == SERVING
        assert await reflected(served, DESK) == "OK"


async def test_a_newer_health_check_goes_before_those_that_stall_where_nothing_is_shown_at_all(
    start_gateway: StartGateway,
) -> None:
    served = await start_gateway()
    with ExitStack() as stack:
        calls = await stalled(stack, served, CHECK)
        assert [await health(served) for _ in range(20)] == [SERVING] * 20
        await asyncio.to_thread(calls.wait_for_ends)


async def test_watches_leave_room_for_checks_and_frames(
    start_gateway: StartGateway, tmp_path: Path, frame_message: pb.Frame
) -> None:
    served = await with_tokens(start_gateway, tmp_path)
    with ExitStack() as stack:
        await stalled(stack, served, WATCH, begun=message_head(0))
        assert await health(served) == SERVING
        assert await answers_a_vehicle(served, frame_message)


async def test_many_that_come_at_once_are_all_answered(start_gateway: StartGateway) -> None:
    served = await start_gateway()
    assert await asyncio.gather(*(health(served) for _ in range(200))) == [SERVING] * 200


async def test_a_health_check_with_a_large_message_is_refused(start_gateway: StartGateway) -> None:
    served = await start_gateway()
    with pytest.raises(grpc.aio.AioRpcError, match="this call takes 65536 at most"):
        await health_pb2_grpc.HealthStub(served.channel).Check(health_pb2.HealthCheckRequest(service="x" * 70_000))


async def test_a_call_that_ends_without_a_message_is_told_so(start_gateway: StartGateway) -> None:
    served = await start_gateway()
    with pytest.raises(grpc.aio.AioRpcError, match="the call sent no message") as failure:
        await served.channel.stream_unary(SEGMENT)(iter([]))
    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(("token", "ends"), [("", "UNAUTHENTICATED"), (ROAD, "PERMISSION_DENIED"), (DESK, "OK")])
async def test_reflection_is_for_operators(start_gateway: StartGateway, tmp_path: Path, token: str, ends: str) -> None:
    assert await reflected(await with_tokens(start_gateway, tmp_path), token) == ends


async def reflected(served: Served, token: str) -> str:
    """How a question to the reflection service ends."""
    metadata: Iterable[tuple[str, str]] = (("authorization", f"Bearer {token}"),)
    call = served.channel.stream_stream(REFLECTION)(iter([b"\x3a\x00"]), metadata=metadata)  # list_services
    try:
        assert b"roadshift.v1.Segmentation" in await call.read()
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"
