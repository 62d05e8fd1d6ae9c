"""Messages that would be taken as they are, for a fuzzer to put one absurd value into."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from roadshift.v1 import annotation_pb2 as annotation
from roadshift.v1 import operations_pb2 as operations
from roadshift.v1 import segmentation_pb2 as segmentation
from tritonclient.grpc import service_pb2 as kserve

from benchmarks.faults.small_parts import FRAME_SIZE
from exchange.label_space import NUM_CLASSES

_DOMAIN = "sim-dusk"


def good_frame() -> segmentation.Frame:
    height, width = FRAME_SIZE
    return segmentation.Frame(data=bytes(3 * height * width), format="rgb8", height=height, width=width)


def plausible_messages() -> Mapping[str, Sequence[Message]]:
    """By the full name of their type; those that need no field are not among them."""
    messages = (
        segmentation.SegmentRequest(frame=good_frame(), domain=_DOMAIN),
        segmentation.SegmentStreamRequest(settings=segmentation.StreamSettings(vehicle_id="fuzz")),
        segmentation.SegmentStreamRequest(frame=good_frame()),
        kserve.ModelReadyRequest(name="segmenter"),
        kserve.ModelMetadataRequest(name="segmenter"),
        _infer_request(),
        health_pb2.HealthCheckRequest(),
        reflection_pb2.ServerReflectionRequest(list_services="*"),
        operations.StartRoundRequest(domain=_DOMAIN, by="fuzz"),
        operations.PromoteRequest(version=1, force=True, why="fuzz", by="fuzz"),
        operations.RollbackRequest(why="fuzz", by="fuzz"),
        operations.PinRequest(version=1, pinned=True, by="fuzz"),
        operations.GetPriorRequest(domain=_DOMAIN),
        operations.SetTriggerRequest(trigger=operations.Trigger(domain=_DOMAIN, interval_s=3600), by="fuzz"),
        annotation.AskRequest(domain=_DOMAIN, minutes=5, by="fuzz"),
        annotation.AskRequest(domain=_DOMAIN, clicks=5, by="fuzz"),
        annotation.LeaseRequest(annotator="fuzz", domain=_DOMAIN),
        annotation.SubmitRequest(task=f"{_DOMAIN}.20260101T000000Z-0123ab.0", annotator="fuzz", label=3),
        annotation.SkipRequest(task=f"{_DOMAIN}.20260101T000000Z-0123ab.0", annotator="fuzz"),
        annotation.UndoRequest(annotator="fuzz"),
        annotation.GetProgressRequest(domain=_DOMAIN),
    )
    by_type: dict[str, list[Message]] = defaultdict(list)
    for message in messages:
        by_type[message.DESCRIPTOR.full_name].append(message)
    return by_type


def _infer_request() -> kserve.ModelInferRequest:
    request = kserve.ModelInferRequest(model_name="segmenter")
    request.inputs.add(name="FRAME", datatype="UINT8", shape=(*FRAME_SIZE, 3))
    request.inputs.add(name="LOG_PRIOR_RATIO", datatype="FP32", shape=(NUM_CLASSES,))
    request.raw_input_contents.extend(
        (bytes(3 * FRAME_SIZE[0] * FRAME_SIZE[1]), np.zeros(NUM_CLASSES, "<f4").tobytes())
    )
    return request
