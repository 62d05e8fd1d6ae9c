"""`Segmentation.Segment` over a real channel, from bytes in to maps out and every way it can end."""

import asyncio
import io
from typing import Any

import grpc
import numpy as np
import pytest
import simplejpeg
from numpy.typing import NDArray
from PIL import Image
from roadshift.v1 import segmentation_pb2 as pb
from roadshift.v1 import segmentation_pb2_grpc as pb_grpc

from exchange.images.frame_fitting import fit_frame, restore_labels
from exchange.images.labels import decode_index_png, decode_runs
from exchange.label_space import colorize
from server.errors import EngineFailed, EngineUnavailable, Overloaded, VersionUnavailable
from server.segmenter import FakeSegmenter
from tests.gateways import FRAME_SIZE_HW, Served, StartGateway, eventually


async def refused(served: Served, request: pb.SegmentRequest, **options: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await served.stub.Segment(request, **options)
    return failure.value


def retry_after_ms(error: grpc.aio.AioRpcError) -> int | None:
    value = dict(error.trailing_metadata() or ()).get("retry-after-ms")
    return None if value is None else int(value)


async def test_a_frame_of_the_release_size_is_labelled_exactly(
    start_gateway: StartGateway, frame_message: pb.Frame, known_labels: NDArray[np.uint8]
) -> None:
    served = await start_gateway()
    frame_message.timestamp.FromMilliseconds(1_700_000_000_123)
    answer = await served.stub.Segment(pb.SegmentRequest(frame=frame_message, vehicle_id="car-1"))
    np.testing.assert_array_equal(decode_index_png(answer.labels.data), known_labels)
    assert (answer.labels.height, answer.labels.width) == FRAME_SIZE_HW
    assert answer.labels.encoding == pb.LABEL_ENCODING_PALETTE_PNG
    assert (answer.frame_id, answer.timestamp) == ("known", frame_message.timestamp)
    assert (answer.model_version, answer.prior_id, answer.domain) == (1, "none", "default")
    assert not answer.HasField("confidence")
    shares = np.bincount(known_labels.ravel(), minlength=19) / known_labels.size
    np.testing.assert_allclose(answer.class_fractions, shares, atol=1e-6)
    assert answer.mean_confidence == pytest.approx(round(255 * np.exp(4) / (np.exp(4) + 18)) / 255)
    seconds = answer.stage_seconds
    parts = (seconds.queue, seconds.decode, seconds.infer, seconds.encode)
    assert min(parts) > 0
    assert seconds.total >= sum(parts)


@pytest.mark.parametrize("image_format", ["png", "jpeg"])
async def test_encoded_frames_of_another_size_get_labels_of_their_own_size(
    start_gateway: StartGateway, image_format: str, known_frame: NDArray[np.uint8]
) -> None:
    served = await start_gateway()
    image_HW3 = np.repeat(np.repeat(known_frame, 3, axis=0), 2, axis=1)[:100]  # 100 x 256: another aspect too
    buffer = io.BytesIO()
    Image.fromarray(image_HW3).save(buffer, image_format, quality=95)
    data = buffer.getvalue()
    answer = await served.stub.Segment(pb.SegmentRequest(frame=pb.Frame(data=data, format=image_format)))
    decoded_HW3 = simplejpeg.decode_jpeg(data) if image_format == "jpeg" else image_HW3
    frame_HW3, valid_hw = fit_frame(decoded_HW3, FRAME_SIZE_HW)
    output = await FakeSegmenter(FRAME_SIZE_HW).infer(1, frame_HW3, np.zeros(19, np.float32), valid_hw)
    expected = restore_labels(output.labels_HW, valid_hw, (100, 256))
    np.testing.assert_array_equal(decode_index_png(answer.labels.data), expected)
    valid_labels = output.labels_HW[: valid_hw[0], : valid_hw[1]]  # padding counts nowhere
    np.testing.assert_allclose(
        answer.class_fractions, np.bincount(valid_labels.ravel(), minlength=19) / valid_labels.size, atol=1e-6
    )


@pytest.mark.parametrize("reduce_by", [0, 1, 2, 4])
async def test_maps_come_in_every_encoding_and_size(
    start_gateway: StartGateway, frame_message: pb.Frame, known_labels: NDArray[np.uint8], reduce_by: int
) -> None:
    served = await start_gateway()
    expected = known_labels[:: reduce_by or 1, :: reduce_by or 1]

    async def ask(labels: int, confidence: int) -> pb.SegmentResponse:
        options = pb.SegmentOptions(label_encoding=labels, confidence_encoding=confidence, reduce_by=reduce_by)
        return await served.stub.Segment(pb.SegmentRequest(frame=frame_message, options=options))

    raw = await ask(pb.LABEL_ENCODING_RAW, pb.CONFIDENCE_ENCODING_RAW)
    np.testing.assert_array_equal(np.frombuffer(raw.labels.data, np.uint8).reshape(expected.shape), expected)
    confidence = np.frombuffer(raw.confidence.data, np.uint8).reshape(expected.shape)
    assert (confidence == round(255 * np.exp(4) / (np.exp(4) + 18))).all()
    assert (raw.confidence.height, raw.confidence.width) == (raw.labels.height, raw.labels.width) == expected.shape
    runs = await ask(pb.LABEL_ENCODING_RLE, pb.CONFIDENCE_ENCODING_PNG)
    np.testing.assert_array_equal(decode_runs(runs.labels.data, expected.shape), expected)
    np.testing.assert_array_equal(decode_index_png(runs.confidence.data), confidence)
    png = await ask(pb.LABEL_ENCODING_PALETTE_PNG, pb.CONFIDENCE_ENCODING_UNSPECIFIED)
    np.testing.assert_array_equal(decode_index_png(png.labels.data), expected)


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 20_000), (20_000, 1), (7, 5)])
async def test_frames_of_any_shape_get_labels_of_that_shape(
    start_gateway: StartGateway, size_hw: tuple[int, int]
) -> None:
    served = await start_gateway()
    frame = pb.Frame(data=bytes(3 * size_hw[0] * size_hw[1]), format="rgb8", height=size_hw[0], width=size_hw[1])
    answer = await served.stub.Segment(pb.SegmentRequest(frame=frame))
    assert decode_index_png(answer.labels.data).shape == size_hw


async def test_the_bytes_of_a_foxglove_compressed_image_are_a_frame(known_frame: NDArray[np.uint8]) -> None:
    """Numbers 1 to 4 as in foxglove.CompressedImage: timestamp, data, format, frame_id."""
    numbers = {field.name: field.number for field in pb.Frame.DESCRIPTOR.fields}
    assert {name: numbers[name] for name in ("timestamp", "data", "format", "frame_id")} == {
        "timestamp": 1, "data": 2, "format": 3, "frame_id": 4,
    }  # fmt: skip


async def test_a_listed_domain_is_named_and_an_unknown_one_is_served_as_default(
    start_gateway: StartGateway, frame_message: pb.Frame
) -> None:
    served = await start_gateway(domains=("sim-day",))
    for asked, counted in (("sim-day", "sim-day"), ("sim-dusk", "default"), ("", "default")):
        answer = await served.stub.Segment(pb.SegmentRequest(frame=frame_message, domain=asked))
        assert answer.domain == counted


INVALID = {
    "no frame": ({}, "the request has no frame"),
    "no format": ({"frame": pb.Frame(data=b"x")}, "format '' is not served: send one of 'jpeg', 'png', 'rgb8'"),
    "webp": ({"frame": pb.Frame(data=b"x", format="webp")}, "format 'webp' is not served"),
    "no jpeg": ({"frame": pb.Frame(data=b"x", format="jpeg")}, "format is 'jpeg' but the data begins with 78"),
    "raw size": ({"frame": pb.Frame(data=b"x", format="rgb8", width=2, height=1)}, "exactly 6 bytes"),
    "too many pixels": (
        {"frame": pb.Frame(data=bytes(3 * 10_001), format="rgb8", width=73, height=137)}, "send one of at most 10000",
    ),
    "domain": ({"domain": "No Domain"}, "domain 'No Domain' is not a domain name"),
    "vehicle": ({"vehicle_id": "v" * 129}, "vehicle_id has 129 bytes: send at most 128"),
    "drive": ({"drive_id": "v" * 129}, "drive_id has 129 bytes: send at most 128"),
    "labels": ({"options": pb.SegmentOptions(label_encoding=9)}, "unknown label_encoding 9: send"),
    "confidence": ({"options": pb.SegmentOptions(confidence_encoding=9)}, "unknown confidence_encoding 9: send"),
    "reduced": ({"options": pb.SegmentOptions(reduce_by=3)}, "reduce_by 3 is not served: send 1, 2 or 4"),
}  # fmt: skip


@pytest.mark.parametrize("name", INVALID)
async def test_a_request_that_is_not_understood_is_told_what_to_send(
    start_gateway: StartGateway, frame_message: pb.Frame, name: str
) -> None:
    served = await start_gateway(max_frame_pixels=10_000)
    fields, message = INVALID[name]
    if name != "no frame":
        fields = {"frame": frame_message, **fields}
    error = await refused(served, pb.SegmentRequest(**fields))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert message in (error.details() or "")
    assert retry_after_ms(error) is None
    assert served.segmenter.inferred_frames == 0


async def test_overload_is_refused_at_once_with_a_hint_and_what_was_admitted_is_answered(
    start_gateway: StartGateway, frame_message: pb.Frame
) -> None:
    served = await start_gateway(in_flight=1, queued=1)
    served.segmenter.gate.clear()
    request = pb.SegmentRequest(frame=frame_message)
    admitted = [served.stub.Segment(request) for _ in range(2)]
    await eventually(lambda: served.gateway.admission.queued == 1)
    error = await refused(served, request)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert 0 < (retry_after_ms(error) or 0) <= 5000
    served.segmenter.gate.set()
    assert [(await call).frame_id for call in admitted] == ["known", "known"]


async def test_a_deadline_that_passes_in_the_queue_never_reaches_the_engine(
    start_gateway: StartGateway, frame_message: pb.Frame
) -> None:
    served = await start_gateway(in_flight=1)
    served.segmenter.gate.clear()
    request = pb.SegmentRequest(frame=frame_message)
    first = served.stub.Segment(request)
    await eventually(lambda: served.segmenter.inferred_frames == 1)
    error = await refused(served, request, timeout=1.0)
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await eventually(lambda: served.gateway.admission.queued == 0)
    served.segmenter.gate.set()
    await first
    await served.gateway.admission.idle()
    assert served.segmenter.inferred_frames == 1
    value = served.gateway.metrics.registry.get_sample_value
    await eventually(lambda: value("roadshift_refused_total", {"reason": "deadline"}) == 1)
    late = {"domain": "default", "version": "1", "status": "DEADLINE_EXCEEDED"}
    assert value("roadshift_requests_total", late) == 1


async def test_a_vehicle_that_hangs_up_leaves_the_engine_in_order(
    start_gateway: StartGateway, frame_message: pb.Frame
) -> None:
    served = await start_gateway(in_flight=1)
    served.segmenter.gate.clear()
    request = pb.SegmentRequest(frame=frame_message)
    call = served.stub.Segment(request)
    await eventually(lambda: served.segmenter.inferred_frames == 1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    waiting = served.stub.Segment(request)
    await eventually(lambda: served.gateway.admission.queued == 1)
    assert served.gateway.admission.in_flight == 1  # the engine still works on the first frame
    served.segmenter.gate.set()
    assert (await waiting).frame_id == "known"


FAILURES = [
    (VersionUnavailable("version 1 is being dropped"), grpc.StatusCode.UNAVAILABLE, True),
    (EngineUnavailable("the engine is being repaired"), grpc.StatusCode.UNAVAILABLE, True),
    (Overloaded("the engine's queue is full"), grpc.StatusCode.RESOURCE_EXHAUSTED, True),
    (EngineFailed("the engine said no"), grpc.StatusCode.INTERNAL, False),
]


@pytest.mark.parametrize(("failure", "status", "hint"), FAILURES)
async def test_each_failure_of_the_engine_has_its_status(
    start_gateway: StartGateway, frame_message: pb.Frame, failure: Any, status: grpc.StatusCode, hint: bool
) -> None:
    served = await start_gateway()
    served.segmenter.failure = failure
    error = await refused(served, pb.SegmentRequest(frame=frame_message))
    assert (error.code(), error.details()) == (status, str(failure))
    assert (retry_after_ms(error) is not None) == hint
    served.segmenter.failure = None
    assert (await served.stub.Segment(pb.SegmentRequest(frame=frame_message))).frame_id == "known"


async def test_a_defect_is_reported_without_its_details(start_gateway: StartGateway, frame_message: pb.Frame) -> None:
    served = await start_gateway()
    served.segmenter.versions[1] = (0, 0)  # no frame can be fitted into this
    error = await refused(served, pb.SegmentRequest(frame=frame_message))
    assert (error.code(), error.details()) == (grpc.StatusCode.INTERNAL, "the gateway failed; its log says why")


async def test_without_a_ready_version_frames_are_refused_as_retryable(
    start_gateway: StartGateway, frame_message: pb.Frame
) -> None:
    served = await start_gateway()
    served.segmenter.versions.clear()
    error = await refused(served, pb.SegmentRequest(frame=frame_message))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert retry_after_ms(error) is not None


async def test_draining_answers_what_was_admitted_and_sends_the_rest_elsewhere(
    start_gateway: StartGateway, frame_message: pb.Frame
) -> None:
    served = await start_gateway(in_flight=1)
    served.segmenter.gate.clear()
    request = pb.SegmentRequest(frame=frame_message)
    admitted = [served.stub.Segment(request) for _ in range(2)]
    await eventually(lambda: served.gateway.admission.queued == 1)
    stopping = asyncio.create_task(served.gateway.drain_and_stop())
    await eventually(served.gateway.admission.draining.is_set)
    error = await refused(served, request)
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert "shutting down" in (error.details() or "")
    served.segmenter.gate.set()
    assert [(await call).frame_id for call in admitted] == ["known", "known"]
    await stopping


async def test_what_takes_too_long_to_drain_is_told_to_go_elsewhere(
    start_gateway: StartGateway, frame_message: pb.Frame
) -> None:
    served = await start_gateway(in_flight=1, drain_s=0.1)
    served.segmenter.gate.clear()
    admitted = [asyncio.ensure_future(refused(served, pb.SegmentRequest(frame=frame_message))) for _ in range(2)]
    await eventually(lambda: served.gateway.admission.queued == 1)
    stopping = asyncio.create_task(served.gateway.drain_and_stop())
    for error in await asyncio.gather(*admitted):
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert retry_after_ms(error)
    served.segmenter.gate.set()
    await stopping


async def test_a_message_over_the_bound_is_refused(start_gateway: StartGateway) -> None:
    served = await start_gateway(max_frame_pixels=1 << 10)
    error = await refused(served, pb.SegmentRequest(frame=pb.Frame(data=bytes(2 << 20), format="jpeg")))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert retry_after_ms(error) is None


async def test_the_largest_frame_fits_as_raw_pixels_and_so_does_its_raw_answer(start_gateway: StartGateway) -> None:
    served = await start_gateway()
    side = 4096  # the default bound, exactly
    request = pb.SegmentRequest(
        frame=pb.Frame(data=bytes(3 * side * side), format="rgb8", height=side, width=side),
        options=pb.SegmentOptions(label_encoding=pb.LABEL_ENCODING_RAW, confidence_encoding=2),
    )
    unbounded = [("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(served.address, options=unbounded) as channel:
        response = await pb_grpc.SegmentationStub(channel).Segment(request)
    assert len(response.labels.data) == len(response.confidence.data) == side * side


async def test_runs_of_one_pixel_each_fit_into_an_answer(start_gateway: StartGateway) -> None:
    side = 1024
    labels_HW = np.arange(side * side, dtype=np.uint32).reshape(side, side) % 2
    served = await start_gateway(FakeSegmenter((side, side)), max_frame_pixels=side * side)
    request = pb.SegmentRequest(
        frame=pb.Frame(data=colorize(labels_HW.astype(np.uint8)).tobytes(), format="rgb8", height=side, width=side),
        options=pb.SegmentOptions(label_encoding=pb.LABEL_ENCODING_RLE, confidence_encoding=2),
    )
    unbounded = [("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(served.address, options=unbounded) as channel:
        response = await pb_grpc.SegmentationStub(channel).Segment(request)
    assert len(response.labels.data) == 3 * side * side


async def test_what_is_refused_before_its_frame_is_read_is_counted_too(
    start_gateway: StartGateway, frame_message: pb.Frame
) -> None:
    served = await start_gateway()
    await refused(served, pb.SegmentRequest(frame=pb.Frame(format="gif")))
    await refused(served, pb.SegmentRequest(frame=frame_message, options=pb.SegmentOptions(reduce_by=3)))
    value = served.gateway.metrics.registry.get_sample_value
    labels = {"domain": "default", "version": "none", "status": "INVALID_ARGUMENT"}
    assert value("roadshift_requests_total", labels) == value("roadshift_refused_total", {"reason": "invalid"}) == 2
