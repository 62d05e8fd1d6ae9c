"""The words for an image's format in the messages that vehicles record and send."""

import re

from exchange.images.frames import ImageFormat
from exchange.plain_words import shown
from server.errors import InvalidRequest

_NAMES = {
    "jpeg": ImageFormat.JPEG,
    "jpg": ImageFormat.JPEG,
    "image/jpeg": ImageFormat.JPEG,
    "image/jpg": ImageFormat.JPEG,
    "png": ImageFormat.PNG,
    "image/png": ImageFormat.PNG,
    "rgb8": ImageFormat.RGB8,
}
_MOST_CHARACTERS = 80
_ROS_FORMAT = re.compile(r"(?:(?P<pixels>\w*) *; *)?(?P<name>jpe?g|png) compressed *(?P<stored>\w*)")
"""What ROS's compressed_image_transport writes: the camera's pixels, the file's format, and the pixels in the file."""


def parse_image_format(text: str) -> ImageFormat:
    """Read a frame's `format`: `jpeg`, `png` or `rgb8`, and as Foxglove and ROS write them.

    Raises:
        InvalidRequest: another format, a depth image, a camera's raw mosaic, or red and blue exchanged.
    """
    words = text.strip().lower() if len(text) <= _MOST_CHARACTERS else ""
    if words in _NAMES:
        return _NAMES[words]
    known = ", ".join(repr(known.value) for known in ImageFormat)
    if "compresseddepth" in words:
        raise InvalidRequest(f"format {shown(text)} is a depth image, which is not served: send one of {known}")
    found = _ROS_FORMAT.fullmatch(words)
    if found is None:
        raise InvalidRequest(f"format {shown(text)} is not served: send one of {known}")
    stored = found["stored"] or found["pixels"] or ""
    if stored.startswith("rgb"):  # OpenCV, which ROS encodes with, takes these for BGR
        raise InvalidRequest(
            f"format {shown(text)} is a file with red and blue exchanged, which is not served: publish bgr8"
        )
    if stored.startswith("bayer"):
        raise InvalidRequest(f"format {shown(text)} is a raw mosaic, which is not served: send it in colours, as bgr8")
    return _NAMES[found["name"]]
