"""Batches of regions as the learner leaves them, and a clock that tests turn."""

import hashlib
from datetime import UTC, datetime, timedelta

import numpy as np

from exchange.fleet.frames import CapturedFrame, FrameMetadata
from exchange.images.labels import encode_gray_png, encode_palette_png
from exchange.regions.batches import create_batch, keep_frame
from exchange.regions.tasks import Box, RegionBatch, RegionTask, is_held_out, new_batch_id
from exchange.storage import StorageRoot

SIZE_HW = (64, 96)
BEGIN = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
ROAD, BUILDING, CAR = 0, 2, 13


class Clock:
    def __init__(self) -> None:
        self.now = BEGIN

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def asked_frame(seed: int, *, vehicle: str = "v1", domain: str = "sim-dusk", version: int = 1) -> CapturedFrame:
    """Noise; to the model its upper half is building and its lower half road."""
    image_HW3 = np.random.default_rng(seed).integers(0, 256, (*SIZE_HW, 3), dtype=np.uint8)
    labels_HW = np.full(SIZE_HW, ROAD, np.uint8)
    labels_HW[: SIZE_HW[0] // 2] = BUILDING
    metadata = FrameMetadata(
        key=f"{vehicle}-{seed}",
        domain=domain,
        gateway="gw-a",
        vehicle=vehicle,
        drive=f"{vehicle}-drive",
        captured_at=BEGIN,
        model_version=version,
        prior_id="none",
        image="rgb",
        size_hw=SIZE_HW,
        mean_confidence=0.5,
        class_fractions=(1 / 19,) * 19,
        presence=(0.1,) * 19,
        mean_probability=(1 / 19,) * 19,
        kept_for="uniform",
    )
    return CapturedFrame(metadata, image_HW3.tobytes(), encode_palette_png(labels_HW), encode_gray_png(labels_HW))


def sha256_of(frame: CapturedFrame) -> str:
    return hashlib.sha256(frame.image).hexdigest()


def frame_where(held_out: bool, *, vehicle: str = "v1", after: int = 0) -> CapturedFrame:
    """The first frame from seed `after` on that is held out, or is not."""
    frames = (asked_frame(seed, vehicle=vehicle) for seed in range(after, after + 1000))
    return next(frame for frame in frames if is_held_out(sha256_of(frame)) == held_out)


def regions_of(frame: CapturedFrame, count: int, *, first: int = 0, people: int = 1) -> list[RegionTask]:
    """Boxes on both sides of the border between building and road, the building asked for first."""
    metadata = frame.metadata
    return [
        RegionTask(
            number=first + index,
            frame_sha256=sha256_of(frame),
            vehicle=metadata.vehicle,
            drive=metadata.drive,
            size_hw=metadata.size_hw,
            box=_above_or_below(index),
            runs=(0, 32),
            predicted=ROAD if index % 2 else BUILDING,
            model_version=metadata.model_version,
            score=1 / (index + 1),
            people=2 if people == 2 else 1,
        )
        for index in range(count)
    ]


def _above_or_below(index: int) -> Box:
    top, left = SIZE_HW[0] // 2 - 4 + 4 * (index % 2), 8 * (index // 2)
    return Box(top, top + 4, left, left + 8)


def leave_batch(
    root: StorageRoot, frames: list[CapturedFrame], count: int = 4, *, people: int = 1, clicks: int | None = None
) -> RegionBatch:
    """An open batch with `count` regions of each frame, in the frames' domain; the frames are kept beside."""
    domain = frames[0].metadata.domain
    number = len(root.list_objects(f"regions/{domain}/batches"))
    for frame in frames:
        keep_frame(root, domain, sha256_of(frame), frame)
    batch = RegionBatch(
        id=new_batch_id(BEGIN, f"{number:06x}"),
        domain=domain,
        asked_by="anna@desk",
        asked_at=BEGIN,
        clicks=len(frames) * count * people if clicks is None else clicks,
        phase="open",
        tasks=tuple(
            task
            for place, frame in enumerate(frames)
            for task in regions_of(frame, count, first=count * place, people=people)
        ),
    )
    create_batch(root, batch)
    return batch
