"""Protobuf of `roadshift.v1` to what the handlers speak of, and back; only what is well-formed is decided here."""

from collections.abc import Hashable

from roadshift.v1 import segmentation_pb2 as pb

from exchange.net.request_values import BadValue, checked_text
from server.errors import InvalidRequest, ServingError
from server.frames.frames import AnswerOptions, EncodedFrame, FrameAnswer, FrameRequest, MapEncoding
from server.gateway.image_formats import parse_image_format

_MAX_ID_BYTES = 128
_MAX_FRAME_ID_BYTES = 256
_FIRST_S, _LAST_S = -62_135_596_800, 253_402_300_799
"""Of a protobuf timestamp: the years 1 to 9999."""

_LABEL_ENCODINGS = {
    pb.LABEL_ENCODING_UNSPECIFIED: MapEncoding.PNG,
    pb.LABEL_ENCODING_PALETTE_PNG: MapEncoding.PNG,
    pb.LABEL_ENCODING_RAW: MapEncoding.RAW,
    pb.LABEL_ENCODING_RLE: MapEncoding.RLE,
}
_CONFIDENCE_ENCODINGS = {
    pb.CONFIDENCE_ENCODING_UNSPECIFIED: None,
    pb.CONFIDENCE_ENCODING_PNG: MapEncoding.PNG,
    pb.CONFIDENCE_ENCODING_RAW: MapEncoding.RAW,
}
_LABEL_ENCODING_PB = {
    MapEncoding.PNG: pb.LABEL_ENCODING_PALETTE_PNG,
    MapEncoding.RAW: pb.LABEL_ENCODING_RAW,
    MapEncoding.RLE: pb.LABEL_ENCODING_RLE,
}
_CONFIDENCE_ENCODING_PB = {
    MapEncoding.PNG: pb.CONFIDENCE_ENCODING_PNG,
    MapEncoding.RAW: pb.CONFIDENCE_ENCODING_RAW,
}
_REDUCE_BY = {0: 1, 1: 1, 2: 2, 4: 4}


def frame_request(
    message: pb.SegmentRequest, peer: str, deadline: float | None, latest_of: Hashable | None = None
) -> FrameRequest:
    """One frame's request.

    Args:
        peer: the network address, which stands in for a missing vehicle id.
        deadline: in the event loop's time.

    Raises:
        InvalidRequest: a field that is not understood; the message says what to send.
    """
    if not message.HasField("frame"):
        raise InvalidRequest("the request has no frame: send one")
    checked_id("frame_id", message.frame.frame_id, _MAX_FRAME_ID_BYTES)
    return FrameRequest(
        frame=encoded_frame(message.frame),
        vehicle=checked_id("vehicle_id", message.vehicle_id) or peer,
        drive=checked_id("drive_id", message.drive_id),
        domain=message.domain,
        options=_answer_options(message.options),
        deadline=deadline,
        latest_of=latest_of,
        captured_s=_captured_s(message.frame),
    )


def _captured_s(frame: pb.Frame) -> float | None:
    if not frame.HasField("timestamp"):
        return None
    seconds, nanos = frame.timestamp.seconds, frame.timestamp.nanos
    if not (_FIRST_S <= seconds <= _LAST_S and 0 <= nanos < 10**9):
        raise InvalidRequest(f"timestamp of {seconds} s and {nanos} ns is no time: send it as since 1970, UTC")
    return seconds + 1e-9 * nanos


def checked_id(field: str, value: str, most_bytes: int = _MAX_ID_BYTES) -> str:
    """Return the id. Raises InvalidRequest where it is too long, or holds a control character."""
    try:
        return checked_text(field, value, most_bytes=most_bytes)
    except BadValue as error:
        raise InvalidRequest(str(error)) from None


def encoded_frame(frame: pb.Frame) -> EncodedFrame:
    return EncodedFrame(frame.data, parse_image_format(frame.format), (frame.height, frame.width))


def _answer_options(options: pb.SegmentOptions) -> AnswerOptions:
    if options.label_encoding not in _LABEL_ENCODINGS:
        raise InvalidRequest(
            f"unknown label_encoding {options.label_encoding}: send 1 (palette PNG), 2 (raw) or 3 (RLE)"
        )
    if options.confidence_encoding not in _CONFIDENCE_ENCODINGS:
        raise InvalidRequest(
            f"unknown confidence_encoding {options.confidence_encoding}: send 0 (none), 1 (PNG) or 2 (raw)"
        )
    if options.reduce_by not in _REDUCE_BY:
        raise InvalidRequest(f"reduce_by {options.reduce_by} is not served: send 1, 2 or 4")
    return AnswerOptions(
        labels=_LABEL_ENCODINGS[options.label_encoding],
        confidence=_CONFIDENCE_ENCODINGS[options.confidence_encoding],
        reduce_by=_REDUCE_BY[options.reduce_by],
    )


def segment_response(frame: pb.Frame, answer: FrameAnswer) -> pb.SegmentResponse:
    """The answer to a frame, carrying the frame's own id and time."""
    seconds = answer.stage_seconds
    response = pb.SegmentResponse(
        frame_id=frame.frame_id,
        labels=pb.LabelMap(
            encoding=_LABEL_ENCODING_PB[answer.labels.encoding],
            data=answer.labels.data,
            height=answer.labels.size_hw[0],
            width=answer.labels.size_hw[1],
        ),
        model_version=answer.route.version,
        prior_id=answer.route.prior_id,
        domain=answer.route.domain,
        mean_confidence=answer.mean_confidence,
        class_fractions=answer.class_fractions_K.tolist(),
        stage_seconds=pb.StageSeconds(
            queue=seconds.queue,
            decode=seconds.decode,
            infer=seconds.infer,
            encode=seconds.encode,
            total=seconds.total,
        ),
    )
    if frame.HasField("timestamp"):
        response.timestamp.CopyFrom(frame.timestamp)
    if answer.confidence is not None:
        response.confidence.encoding = _CONFIDENCE_ENCODING_PB[answer.confidence.encoding]
        response.confidence.data = answer.confidence.data
        response.confidence.height, response.confidence.width = answer.confidence.size_hw
    return response


def stream_frame_request(settings: pb.StreamSettings, frame: pb.Frame) -> pb.SegmentRequest:
    """What a stream's frame would be as a unary call."""
    return pb.SegmentRequest(
        frame=frame,
        vehicle_id=settings.vehicle_id,
        drive_id=settings.drive_id,
        domain=settings.domain,
        options=settings.options,
    )


def frame_error(error: ServingError) -> pb.FrameError:
    message = pb.FrameError(code=error.status.value[0], message=str(error))
    if error.retry_after_s is not None:
        message.retry_after_ms = retry_after_ms(error.retry_after_s)
    return message


def retry_after_ms(retry_after_s: float) -> int:
    return max(1, round(1000 * retry_after_s))
