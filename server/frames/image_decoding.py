"""Vehicles' frames through the decoder that the learner has too, its refusals as the gateway's."""

import numpy as np
from numpy.typing import NDArray

from exchange.images import frames
from exchange.images.errors import ImageError
from server.errors import InvalidRequest
from server.frames.frames import EncodedFrame


def read_size(frame: EncodedFrame, max_pixels: int) -> tuple[int, int]:
    """Rows and columns, from the header alone.

    Raises:
        InvalidRequest: not the format that it is said to be, of a kind that is not served, or too large.
    """
    try:
        return frames.read_size(frame.data, frame.format, max_pixels, frame.declared_size_hw)
    except ImageError as error:
        raise InvalidRequest(str(error)) from error


def decode(frame: EncodedFrame) -> NDArray[np.uint8]:
    """RGB uint8 [H, W, 3] of a frame whose size has been read.

    Raises:
        InvalidRequest: truncated or damaged.
    """
    try:
        return frames.decode(frame.data, frame.format, frame.declared_size_hw)
    except ImageError as error:
        raise InvalidRequest(str(error)) from error
