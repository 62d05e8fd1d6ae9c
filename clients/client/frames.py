"""Frames as requests."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from roadshift.v1 import segmentation_pb2 as pb

_MAGIC: dict[bytes, str] = {b"\xff\xd8\xff": "jpeg", b"\x89PNG\r\n\x1a\n": "png"}
_frame_numbers: Iterator[int] = count(1)


Image = bytes | Path | NDArray[np.uint8]
"""A JPEG or PNG file's bytes or path, or RGB pixels, uint8 [H, W, 3]."""


@dataclass(frozen=True)
class FrameToSend:
    """One camera frame with its id and capture time."""

    image: Image
    frame_id: str = field(default_factory=lambda: f"frame-{next(_frame_numbers)}")
    captured_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def to_message(self) -> pb.Frame:
        """
        Raises:
            ValueError: neither JPEG nor PNG, or pixels of another type or shape.
        """
        frame = pb.Frame(frame_id=self.frame_id)
        frame.timestamp.FromDatetime(self.captured_at)
        if isinstance(self.image, np.ndarray):
            if self.image.dtype != np.uint8 or self.image.ndim != 3 or self.image.shape[2] != 3:
                raise ValueError(f"pixels of {self.image.dtype} {self.image.shape}: give uint8 [height, width, 3], RGB")
            frame.format = "rgb8"
            frame.height, frame.width = self.image.shape[:2]
            frame.data = self.image.tobytes()
            return frame
        frame.data = self.image.read_bytes() if isinstance(self.image, Path) else self.image
        for magic, name in _MAGIC.items():
            if frame.data.startswith(magic):
                frame.format = name
                return frame
        raise ValueError("neither JPEG nor PNG: convert it, or give its RGB pixels")

    def to_stream_message(self) -> pb.SegmentStreamRequest:
        """As one of a stream; what is no frame goes without pixels, and the gateway refuses it alone, in order."""
        try:
            return pb.SegmentStreamRequest(frame=self.to_message())
        except (ValueError, OSError):
            return pb.SegmentStreamRequest(frame=pb.Frame(frame_id=self.frame_id))


@dataclass(frozen=True)
class FrameSettings:
    """What a vehicle says once and means for all its frames."""

    vehicle_id: str = ""
    drive_id: str = ""
    domain: str = ""
    confidence: bool = False
    """Ask for the confidence map too."""
    reduce_by: Literal[1, 2, 4] = 1
    """Every pixel's label, or every second or fourth one in both directions."""

    @property
    def options(self) -> pb.SegmentOptions:
        confidence = pb.CONFIDENCE_ENCODING_PNG if self.confidence else pb.CONFIDENCE_ENCODING_UNSPECIFIED
        return pb.SegmentOptions(
            label_encoding=pb.LABEL_ENCODING_PALETTE_PNG, confidence_encoding=confidence, reduce_by=self.reduce_by
        )

    def request(self, frame: pb.Frame) -> pb.SegmentRequest:
        return pb.SegmentRequest(
            frame=frame,
            vehicle_id=self.vehicle_id,
            drive_id=self.drive_id,
            domain=self.domain,
            options=self.options,
        )

    def stream_settings(self, latest_wins: bool) -> pb.SegmentStreamRequest:
        return pb.SegmentStreamRequest(
            settings=pb.StreamSettings(
                vehicle_id=self.vehicle_id,
                drive_id=self.drive_id,
                domain=self.domain,
                options=self.options,
                latest_wins=latest_wins,
            )
        )
