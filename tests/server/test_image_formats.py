"""The formats of recorded messages."""

import pytest
from roadshift.v1 import segmentation_pb2 as pb

from exchange.images.frames import ImageFormat
from server.errors import InvalidRequest
from server.gateway.converters import encoded_frame

TAKEN = {
    ImageFormat.JPEG: (
        "jpeg",
        "jpg",
        "JPEG",
        "JPG",
        " jpeg ",
        "image/jpeg",
        "image/jpg",
        "rgb8; jpeg compressed bgr8",
        "bgr8; jpeg compressed ",
        "bgr8; jpeg compressed bgr8",
        "mono8; jpeg compressed mono8",
        "rgb8;jpeg compressed bgr8",
        "mono8; jpeg compressed ",
        "bayer_rggb8; jpeg compressed bgr8",
        "yuv422; jpeg compressed bgr8",
        "jpeg compressed bgr8",
    ),
    ImageFormat.PNG: (
        "png",
        "PNG",
        "image/png",
        "rgb8; png compressed bgr8",
        "bgr8; png compressed ",
        "mono8; png compressed mono8",
    ),
    ImageFormat.RGB8: ("rgb8", "RGB8"),
}
REFUSED = {
    "16UC1; compressedDepth png": "'16UC1; compressedDepth png' is a depth image",
    "32FC1; compressedDepth": "is a depth image",
    "16UC1; compressedDepth rvl": "is a depth image",
    "bayer_rggb8; jpeg compressed ": "is a raw mosaic",
    "bayer_bggr8; png compressed bayer_bggr8": "is a raw mosaic",
    "rgb8; jpeg compressed rgb8": "'rgb8; jpeg compressed rgb8' is a file with red and blue exchanged.*: publish bgr8",
    "bgr8; png compressed RGB8": "red and blue exchanged",
    "rgba8; jpeg compressed rgba8": "red and blue exchanged",
    "jpeg compressed rgb8": "red and blue exchanged",
    "rgb8; jpeg compressed ": "red and blue exchanged",
    "webp": "format 'webp' is not served: send one of 'jpeg', 'png', 'rgb8'",
    "avif": "is not served",
    "rgb8; tiff compressed bgr8": "is not served",
    "bgr8": "is not served",
    "jpeg; png": "is not served",
    "": "format '' is not served",
    "j" * 500: r"format 'j{63}\.\.\. is not served",
    " " * 500 + "jpeg": "is not served",
}


@pytest.mark.parametrize(("image_format", "text"), [(kind, text) for kind, texts in TAKEN.items() for text in texts])
def test_the_formats_that_ros_and_foxglove_write_are_taken(image_format: ImageFormat, text: str) -> None:
    assert encoded_frame(pb.Frame(data=b"x", format=text)).format is image_format


@pytest.mark.parametrize("text", REFUSED)
def test_other_formats_are_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidRequest, match=REFUSED[text]):
        encoded_frame(pb.Frame(data=b"x", format=text))
