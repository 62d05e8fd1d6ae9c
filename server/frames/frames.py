"""What the gateway's handlers speak of: frames, requests and answers, free of protobuf."""

from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from exchange.images.frames import ImageFormat
from server.routing import Route


class MapEncoding(Enum):
    PNG = "png"
    RAW = "raw"
    RLE = "rle"


@dataclass(frozen=True)
class EncodedFrame:
    data: bytes
    format: ImageFormat
    declared_size_hw: tuple[int, int] = (0, 0)
    """Only for RGB8."""


@dataclass(frozen=True)
class AnswerOptions:
    labels: MapEncoding = MapEncoding.PNG
    confidence: MapEncoding | None = None
    reduce_by: int = 1
    """1, 2 or 4: every pixel, or every second or fourth one in both directions."""


@dataclass(frozen=True)
class FrameRequest:
    frame: EncodedFrame
    vehicle: str
    """Whom fairness is between: the vehicle's id, or its network address."""
    drive: str = ""
    domain: str = ""
    options: AnswerOptions = AnswerOptions()
    deadline: float | None = None
    """In the event loop's time."""
    latest_of: Hashable | None = None
    """The stream, where a frame that still waits gives way to the stream's next one."""
    version: int | None = None
    """None for the version that the serving plan says."""
    log_prior_ratio_K: NDArray[np.float32] | None = None
    """None for the prior that the serving plan says."""
    captured_s: float | None = None
    """Unix time of the capture by the vehicle's clock; None where it gave none."""


@dataclass(frozen=True)
class EncodedMap:
    encoding: MapEncoding
    data: bytes
    size_hw: tuple[int, int]


@dataclass
class StageSeconds:
    queue: float = 0.0
    decode: float = 0.0
    infer: float = 0.0
    encode: float = 0.0
    total: float = 0.0


@dataclass(frozen=True)
class FrameAnswer:
    labels: EncodedMap
    confidence: EncodedMap | None
    route: Route
    mean_confidence: float
    """From 0 to 1, over the whole frame."""
    class_fractions_K: NDArray[np.float32]
    presence_K: NDArray[np.float32]
    mean_probability_K: NDArray[np.float32]
    stage_seconds: StageSeconds
