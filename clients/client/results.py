"""Answers as numpy arrays and pictures."""

from dataclasses import dataclass

import cv2
import grpc
import numpy as np
from numpy.typing import NDArray
from roadshift.v1 import segmentation_pb2 as pb

from clients.client.connection import RequestFailed
from exchange.images.labels import decode_index_png, encode_palette_png
from exchange.label_space import colorize


@dataclass(frozen=True)
class SegmentResult:
    """One frame's labels and what was said about them."""

    frame_id: str
    labels_HW: NDArray[np.uint8]
    """Train ids (`exchange.label_space.CLASS_NAMES`)."""
    confidence_HW: NDArray[np.uint8] | None
    """255 times the probability of the label, where asked for."""
    model_version: int
    prior_id: str
    domain: str
    mean_confidence: float
    class_fractions_K: NDArray[np.float32]
    stage_seconds: dict[str, float]
    """Seconds in the gateway: queue, decode, infer, encode, total."""

    def palette_png(self) -> bytes:
        """The labels as a palette PNG in the Cityscapes colours."""
        return encode_palette_png(self.labels_HW)

    def colors(self) -> NDArray[np.uint8]:
        """The labels in the Cityscapes colours, uint8 RGB [H, W, 3]."""
        return colorize(self.labels_HW)

    def overlay(self, image_HW3: NDArray[np.uint8], opacity: float = 0.5) -> NDArray[np.uint8]:
        """The colours over the frame, uint8 RGB of the frame's size, also where the labels were reduced."""
        size = (image_HW3.shape[1], image_HW3.shape[0])
        colors = cv2.resize(self.colors(), size, interpolation=cv2.INTER_NEAREST)
        return cv2.addWeighted(colors, opacity, image_HW3, 1 - opacity, 0).astype(np.uint8, copy=False)


@dataclass(frozen=True)
class StreamOutcome:
    """What became of one frame of a stream: a result, an error, or neither where a newer frame overtook it."""

    frame_id: str
    result: SegmentResult | None = None
    error: RequestFailed | None = None

    @property
    def skipped(self) -> bool:
        return self.result is None and self.error is None


def segment_result(response: pb.SegmentResponse, frame_id: str) -> SegmentResult:
    """
    Raises:
        RequestFailed: the answer is another frame's (DATA_LOSS).
        LabelImageError: the maps are damaged.
    """
    if response.frame_id != frame_id:
        raise RequestFailed(
            grpc.StatusCode.DATA_LOSS, f"asked for {frame_id!r}, got the answer of {response.frame_id!r}"
        )
    seconds = response.stage_seconds
    return SegmentResult(
        frame_id=response.frame_id,
        labels_HW=decode_index_png(response.labels.data),
        confidence_HW=decode_index_png(response.confidence.data) if response.HasField("confidence") else None,
        model_version=response.model_version,
        prior_id=response.prior_id,
        domain=response.domain,
        mean_confidence=response.mean_confidence,
        class_fractions_K=np.array(response.class_fractions, dtype=np.float32),
        stage_seconds={field.name: getattr(seconds, field.name) for field in seconds.DESCRIPTOR.fields},
    )


def stream_outcome(response: pb.SegmentStreamResponse) -> StreamOutcome:
    match response.WhichOneof("outcome"):
        case "answer":
            return StreamOutcome(response.frame_id, result=segment_result(response.answer, response.frame_id))
        case "error":
            status = next((s for s in grpc.StatusCode if s.value[0] == response.error.code), grpc.StatusCode.UNKNOWN)
            return StreamOutcome(response.frame_id, error=RequestFailed(status, response.error.message))
        case _:
            return StreamOutcome(response.frame_id)
