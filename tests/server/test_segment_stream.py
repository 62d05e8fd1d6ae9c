"""`Segmentation.SegmentStream`: order, bad frames, windows, latest-wins and draining."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from roadshift.v1 import segmentation_pb2 as pb

from tests.gateways import Served, StartGateway, eventually


def opening(vehicle_id: str = "car-1", **settings: object) -> pb.SegmentStreamRequest:
    return pb.SegmentStreamRequest(settings=pb.StreamSettings(vehicle_id=vehicle_id, **settings))


def numbered(frame: pb.Frame, number: int) -> pb.SegmentStreamRequest:
    message = pb.SegmentStreamRequest(frame=frame)
    message.frame.frame_id = str(number)
    return message


def kinds(responses: list[pb.SegmentStreamResponse]) -> dict[str, str | None]:
    return {response.frame_id: response.WhichOneof("outcome") for response in responses}


async def test_outcomes_come_in_order_and_a_bad_frame_fails_alone(
    start_gateway: StartGateway, frame_message: pb.Frame
) -> None:
    served = await start_gateway()

    async def messages() -> AsyncIterator[pb.SegmentStreamRequest]:
        yield opening()
        for number in range(8):
            message = numbered(frame_message, number)
            if number == 3:
                message.frame.data = b"short"
            yield message

    responses = [response async for response in served.stub.SegmentStream(messages())]
    assert [response.frame_id for response in responses] == [str(number) for number in range(8)]
    assert kinds(responses) == {str(n): "error" if n == 3 else "answer" for n in range(8)}
    assert responses[3].error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert "exactly" in responses[3].error.message
    assert not responses[3].error.HasField("retry_after_ms")
    assert all(response.answer.frame_id == response.frame_id for response in responses if response.HasField("answer"))


async def test_a_frame_that_meets_a_defect_fails_alone_too(
    start_gateway: StartGateway, frame_message: pb.Frame
) -> None:
    served = await start_gateway()
    size_hw = served.segmenter.versions[1]
    served.segmenter.versions[1] = (0, 0)  # no frame can be fitted into this

    async def messages() -> AsyncIterator[pb.SegmentStreamRequest]:
        yield opening()
        yield numbered(frame_message, 0)
        await eventually(lambda: refused_count(served, "internal") == 1)
        served.segmenter.versions[1] = size_hw
        yield numbered(frame_message, 1)

    responses = await collect(served.stub.SegmentStream(messages()))
    assert kinds(responses) == {"0": "error", "1": "answer"}
    assert responses[0].error.code == grpc.StatusCode.INTERNAL.value[0]
    assert responses[0].error.message == "the gateway failed; its log says why"


async def test_later_settings_hold_for_the_frames_that_follow(
    start_gateway: StartGateway, frame_message: pb.Frame
) -> None:
    served = await start_gateway(domains=("sim-day", "sim-dusk"))

    async def messages() -> AsyncIterator[pb.SegmentStreamRequest]:
        for domain in ("sim-day", "sim-dusk"):
            yield opening(domain=domain)
            yield numbered(frame_message, 1)

    assert [r.answer.domain async for r in served.stub.SegmentStream(messages())] == ["sim-day", "sim-dusk"]


@pytest.mark.parametrize("first", [pb.SegmentStreamRequest(), pb.SegmentStreamRequest(frame=pb.Frame(format="png"))])
async def test_a_stream_must_begin_with_its_settings(
    start_gateway: StartGateway, first: pb.SegmentStreamRequest
) -> None:
    served = await start_gateway()

    async def messages() -> AsyncIterator[pb.SegmentStreamRequest]:
        yield first

    with pytest.raises(grpc.aio.AioRpcError) as failure:
        [response async for response in served.stub.SegmentStream(messages())]
    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert failure.value.details() == "send the stream's settings first, then frames"


async def test_a_stream_is_read_only_a_window_ahead(start_gateway: StartGateway, frame_message: pb.Frame) -> None:
    served = await start_gateway(in_flight=1, queued_per_vehicle=2)
    served.segmenter.gate.clear()

    async def messages() -> AsyncIterator[pb.SegmentStreamRequest]:
        yield opening()
        for number in range(20):
            yield numbered(frame_message, number)

    call = served.stub.SegmentStream(messages())
    responses = asyncio.ensure_future(collect(call))
    await eventually(lambda: served.gateway.admission.queued == 1)
    assert served.gateway.admission.in_flight == 1
    served.segmenter.gate.set()
    assert set(kinds(await responses).values()) == {"answer"}  # held back, not refused


async def test_latest_wins_skips_overtaken_frames_and_says_so(
    start_gateway: StartGateway, frame_message: pb.Frame
) -> None:
    served = await start_gateway(in_flight=1)
    served.segmenter.gate.clear()
    sent = asyncio.Event()

    async def messages() -> AsyncIterator[pb.SegmentStreamRequest]:
        yield opening(latest_wins=True)
        yield numbered(frame_message, 0)
        await eventually(lambda: served.segmenter.inferred_frames == 1)
        for number in range(1, 10):
            yield numbered(frame_message, number)
        sent.set()

    responses = asyncio.ensure_future(collect(served.stub.SegmentStream(messages())))
    await sent.wait()
    await eventually(lambda: refused_count(served, "overtaken") == 8)
    served.segmenter.gate.set()
    outcomes = kinds(await responses)
    assert list(outcomes) == [str(number) for number in range(10)]
    assert {number for number, kind in outcomes.items() if kind == "answer"} == {"0", "9"}
    assert {kind for number, kind in outcomes.items() if number not in ("0", "9")} == {"skipped"}


async def test_a_draining_gateway_answers_what_it_has_read_and_ends_the_stream(
    start_gateway: StartGateway, frame_message: pb.Frame
) -> None:
    served = await start_gateway(in_flight=1)
    served.segmenter.gate.clear()
    more = asyncio.Event()

    async def messages() -> AsyncIterator[pb.SegmentStreamRequest]:
        yield opening()
        yield numbered(frame_message, 0)
        await more.wait()

    call = served.stub.SegmentStream(messages())
    await eventually(lambda: served.segmenter.inferred_frames == 1)
    stopping = asyncio.create_task(served.gateway.drain_and_stop())
    await eventually(served.gateway.admission.draining.is_set)
    served.segmenter.gate.set()
    assert kinds([await call.read()]) == {"0": "answer"}
    with pytest.raises(grpc.aio.AioRpcError) as end:
        await call.read()
    assert end.value.code() is grpc.StatusCode.UNAVAILABLE
    assert dict(end.value.trailing_metadata() or ())["retry-after-ms"]
    await stopping


async def test_a_stream_whose_vehicle_hangs_up_leaves_nothing_behind(
    start_gateway: StartGateway, frame_message: pb.Frame
) -> None:
    served = await start_gateway(in_flight=1)
    served.segmenter.gate.clear()

    async def messages() -> AsyncIterator[pb.SegmentStreamRequest]:
        yield opening()
        for number in range(2):
            yield numbered(frame_message, number)
        await asyncio.Event().wait()

    call = served.stub.SegmentStream(messages())
    await eventually(lambda: served.gateway.admission.queued == 1)
    call.cancel()
    await eventually(lambda: served.gateway.admission.queued == 0)
    served.segmenter.gate.set()
    await served.gateway.admission.idle()
    assert served.segmenter.inferred_frames == 1


async def test_one_vehicle_cannot_take_all_streams(start_gateway: StartGateway, frame_message: pb.Frame) -> None:
    served = await start_gateway(streams=3, streams_per_vehicle=2)
    held = []
    for vehicle, refusal in (
        ("car-1", None),
        ("car-1", None),
        ("car-1", "2 streams of this vehicle"),
        ("car-2", None),
        ("car-3", "3 streams are open"),
    ):
        call = served.stub.SegmentStream()  # a request iterator's next write may meet the refusal, as INTERNAL
        if refusal is None:
            held.append(call)
            await call.write(opening(vehicle_id=vehicle))
            await call.write(numbered(frame_message, 1))
            assert kinds([await call.read()]) == {"1": "answer"}
            continue
        if vehicle == "car-1":
            await call.write(opening(vehicle_id=vehicle))
        with pytest.raises(grpc.aio.AioRpcError, match=refusal) as failure:
            await call.read()
        assert failure.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert dict(failure.value.trailing_metadata() or ())["retry-after-ms"]
    assert refused_count(served, "streams") == 2
    assert (await served.stub.Segment(pb.SegmentRequest(frame=frame_message))).frame_id
    for call in held:
        call.cancel()


async def test_a_stream_that_sends_nothing_is_ended(start_gateway: StartGateway) -> None:
    served = await start_gateway(stream_idle_s=0.05)
    call = served.stub.SegmentStream()
    await call.write(opening())
    with pytest.raises(grpc.aio.AioRpcError, match="sent nothing for") as failure:
        await call.read()
    assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
    assert refused_count(served, "stream_idle") == 1


async def collect(call: AsyncIterator[pb.SegmentStreamResponse]) -> list[pb.SegmentStreamResponse]:
    return [response async for response in call]


def refused_count(served: Served, reason: str) -> float:
    return served.gateway.metrics.registry.get_sample_value("roadshift_refused_total", {"reason": reason}) or 0.0
