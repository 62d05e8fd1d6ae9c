"""What the gateway hands over after each answer, and who takes it."""

import time
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from server.frames.frames import FrameAnswer, FrameRequest
from server.segmenter import SegmenterOutput

_OLDEST_S = 86_400.0
_CLOCKS_DIFFER_S = 60.0


@dataclass(frozen=True)
class ServedFrame:
    """A frame that was answered, with everything that was computed for it."""

    request: FrameRequest
    answer: FrameAnswer
    output: SegmenterOutput
    frame_HW3: NDArray[np.uint8]
    """As the engine saw it: fitted and padded."""
    valid_hw: tuple[int, int]
    original_hw: tuple[int, int]
    served_s: float
    """Unix time."""
    captured_s: float
    """By the vehicle's clock where it gave one."""
    drive: str
    """As the vehicle names it; where it does not, what `server.capture.drives` makes of it."""

    @classmethod
    def now(
        cls,
        request: FrameRequest,
        answer: FrameAnswer,
        output: SegmenterOutput,
        frame_HW3: NDArray[np.uint8],
        valid_hw: tuple[int, int],
        original_hw: tuple[int, int],
    ) -> "ServedFrame":
        """A frame that was answered in this moment."""
        now_s = time.time()
        captured_s = _plausible_capture(request.captured_s, now_s)
        return cls(request, answer, output, frame_HW3, valid_hw, original_hw, now_s, captured_s, request.drive)

    @property
    def size_bytes(self) -> int:
        arrays = (self.frame_HW3, self.output.labels_HW, self.output.confidence_HW)
        return len(self.request.frame.data) + sum(array.nbytes for array in arrays)


class Recorder(Protocol):
    """Called on the event loop for each frame: takes note in microseconds, or drops and counts."""

    def served(self, frame: ServedFrame) -> None: ...


def _plausible_capture(given_s: float | None, served_s: float) -> float:
    """The vehicle's time of capture, unless its clock cannot be right or it tells of another day."""
    if given_s is None or not served_s - _OLDEST_S <= given_s <= served_s + _CLOCKS_DIFFER_S:
        return served_s
    return given_s
