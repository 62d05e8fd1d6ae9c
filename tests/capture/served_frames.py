"""Served frames, made up."""

import time

import numpy as np

from exchange.images.frames import ImageFormat
from server.frames.frames import (
    EncodedFrame,
    EncodedMap,
    FrameAnswer,
    FrameRequest,
    MapEncoding,
    StageSeconds,
)
from server.frames.served_frame import ServedFrame
from server.routing import Route
from server.segmenter import label_by_nearest_color

SIZE_HW = (32, 64)


def served(
    seed: int,
    *,
    vehicle: str = "car-1",
    drive: str = "a drive",
    domain: str = "sim-day",
    captured_s: float | None = None,
    served_s: float | None = None,
    confidence: float = 0.9,
    fractions_K: np.ndarray | None = None,
) -> ServedFrame:
    """A frame of noise that differs from every other seed's, answered by the fake."""
    image_HW3 = np.random.default_rng(seed).integers(0, 256, (*SIZE_HW, 3), dtype=np.uint8)
    ratio_K = np.zeros(19, np.float32)
    output = label_by_nearest_color(image_HW3, ratio_K, SIZE_HW, 4.0)
    now_s = time.time() if served_s is None else served_s
    return ServedFrame(
        request=FrameRequest(EncodedFrame(image_HW3.tobytes(), ImageFormat.RGB8, SIZE_HW), vehicle, drive, domain),
        answer=FrameAnswer(
            labels=EncodedMap(MapEncoding.RAW, output.labels_HW.tobytes(), SIZE_HW),
            confidence=None,
            route=Route(domain, 1, "none", ratio_K),
            mean_confidence=confidence,
            class_fractions_K=np.full(19, 1 / 19, np.float32) if fractions_K is None else fractions_K,
            presence_K=output.presence_K,
            mean_probability_K=output.mean_probability_K,
            stage_seconds=StageSeconds(total=0.01),
        ),
        output=output,
        frame_HW3=image_HW3,
        valid_hw=SIZE_HW,
        original_hw=SIZE_HW,
        served_s=now_s,
        captured_s=now_s if captured_s is None else captured_s,
        drive=drive,
    )
