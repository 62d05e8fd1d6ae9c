"""What a gateway takes, a learner can read; and what a gateway refuses is no frame to a learner either."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from adaptation.learning.data.labelled_frames import DataError, read_image
from exchange.fleet.captured_images import decode_rgb, write_image
from exchange.fleet.frames import CapturedFrame, FrameMetadata, ImageExtension
from exchange.images.frames import ImageFormat
from exchange.label_space import NUM_CLASSES
from exchange.storage.records import RecordError
from server.errors import InvalidRequest
from server.frames.frames import EncodedFrame
from server.frames.image_decoding import decode, read_size
from tests.image_files import BASELINE, PIXELS, PLAIN_PNG, REFUSED, WHOLE, exif, pillow

SIZE_HW = (48, 64)
EXTENSIONS: dict[ImageFormat, ImageExtension] = {
    ImageFormat.JPEG: "jpg",
    ImageFormat.PNG: "png",
    ImageFormat.RGB8: "rgb",
}


def captured(data: bytes, image_format: ImageFormat, size_hw: tuple[int, int] = SIZE_HW) -> CapturedFrame:
    nothing = (0.0,) * NUM_CLASSES
    metadata = FrameMetadata(
        key="frame",
        domain="sim-day",
        gateway="gw-a",
        vehicle="v",
        drive="d",
        captured_at=datetime(2026, 1, 1, tzinfo=UTC),
        model_version=1,
        prior_id="",
        image=EXTENSIONS[image_format],
        size_hw=size_hw,
        mean_confidence=0,
        class_fractions=nothing,
        presence=nothing,
        mean_probability=nothing,
        kept_for="uniform",
    )
    return CapturedFrame(metadata, data, b"", b"")


def is_taken(data: bytes, image_format: ImageFormat) -> bool:
    """Whether the gateway labels it, and with that may capture it."""
    frame = EncodedFrame(data, image_format, SIZE_HW)
    try:
        read_size(frame, 1 << 20)
        decode(frame)
    except InvalidRequest:
        return False
    return True


def is_readable(data: bytes, image_format: ImageFormat, folder: Path) -> bool:
    """Whether the learner reads it from the shard, and from the folder in which a round lays it out; it is the same."""
    frame = captured(data, image_format)
    try:
        image_HW3 = decode_rgb(frame)
    except RecordError:
        return False
    np.testing.assert_array_equal(read_image(write_image(frame, folder, "frame")), image_HW3)
    assert image_HW3.flags.writeable
    return True


@pytest.mark.parametrize("name", WHOLE | REFUSED)
def test_the_learner_reads_what_the_gateway_takes(name: str, tmp_path: Path) -> None:
    image_format, data = (WHOLE | REFUSED)[name][:2]
    assert is_taken(data, image_format) == is_readable(data, image_format, tmp_path) == (name in WHOLE)


def test_random_damage_is_taken_by_both_or_by_none(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    taken = 0
    for image_format, whole in ((ImageFormat.JPEG, BASELINE), (ImageFormat.PNG, PLAIN_PNG)):
        for _ in range(150):
            data = bytearray(whole)
            data[rng.integers(0, len(data))] = rng.integers(0, 256)
            cut = bytes(data[: len(data) - rng.integers(0, 2) * rng.integers(0, len(data))])
            damaged = cut + rng.bytes(rng.integers(0, 2) * 9)
            now_taken = is_taken(damaged, image_format)
            frame = captured(damaged, image_format, read_size_of(damaged, image_format) if now_taken else SIZE_HW)
            if now_taken:
                taken += 1
                read_image(write_image(frame, tmp_path, "frame"))
                decode_rgb(frame)
            else:
                with pytest.raises(RecordError):
                    decode_rgb(frame)
    assert taken


def read_size_of(data: bytes, image_format: ImageFormat) -> tuple[int, int]:
    return read_size(EncodedFrame(data, image_format), 1 << 20)


def test_raw_rows_are_read_and_their_number_is_checked(tmp_path: Path) -> None:
    raw = PIXELS.tobytes()
    assert is_readable(raw, ImageFormat.RGB8, tmp_path)
    for wrong in (raw[:-1], raw + b"\0", b""):
        assert not is_taken(wrong, ImageFormat.RGB8)
        assert not is_readable(wrong, ImageFormat.RGB8, tmp_path)


def test_a_captured_image_has_the_size_that_was_answered() -> None:
    with pytest.raises(RecordError, match=r"frame is an image of \(48, 64\) where \(64, 48\) belongs"):
        decode_rgb(captured(PLAIN_PNG, ImageFormat.PNG, (64, 48)))


@pytest.mark.parametrize("name", REFUSED)
def test_a_folders_file_that_is_not_whole_is_refused_by_its_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / "frame.jpg"
    path.write_bytes(REFUSED[name][1])
    with pytest.raises(DataError, match=r"frame\.jpg cannot be read as an image \(.*\): restore the file"):
        read_image(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"away\.png cannot be read as an image \(No such file or directory\)"):
        read_image(tmp_path / "away.png")


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_folders_file_that_a_viewer_would_turn_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "frame"
    path.write_bytes(pillow(kind, exif=exif(6)))
    with pytest.raises(DataError, match="frame has EXIF orientation 6: store its pixels as its labels lie"):
        read_image(path)
    path.write_bytes(pillow(kind, exif=exif(1)))
    assert read_image(path).shape == (*SIZE_HW, 3)
