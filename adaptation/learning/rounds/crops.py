"""The crops that a round trains on; batch n is the same whenever and wherever it is drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adaptation.learning.data.appearance import transfer_appearance
from adaptation.learning.data.class_statistics import count_classes
from adaptation.learning.data.crop_stream import CropStream, FrameSource, LabelledCrops, Restyle
from adaptation.learning.data.cropping import draw_crop
from adaptation.learning.data.data_choice import DataChoice
from adaptation.learning.data.frame_cache import FrameCache
from adaptation.learning.data.labelled_frames import LabelledFrame, read_image, read_labels
from adaptation.learning.methods.self_training import inside_margins
from adaptation.learning.rounds.snapshot import FrozenFrame, Snapshot, read_asked, source_frames
from exchange.jobs.crops import CropSettings
from exchange.jobs.recipes import RoundConfig
from exchange.label_space import IGNORE_ID

SOURCE_CACHE_BYTES = 4 << 30
TARGET_CACHE_BYTES = 2 << 30
LABELLED_SHARE = 0.5
"""Of the target's crops come from frames in which people labelled something, where there are such frames."""


@dataclass(frozen=True)
class TargetCrops:
    images_NHWC: NDArray[np.uint8]
    asked_NHW: NDArray[np.uint8]
    """Train ids where a person was asked, else 255."""
    valid_NHW: NDArray[np.uint8]
    """1 where the crop shows what is trusted of the frame, 0 in its margins and beyond its edge."""


@dataclass(frozen=True)
class RoundCrops:
    source: LabelledCrops
    target: TargetCrops


def open_source_stream(snapshot: Path, choices: Sequence[DataChoice], config: RoundConfig, seed: int) -> CropStream:
    """The source's labelled crops.

    Raises:
        RoundError: the source changed since the snapshot.
        DataError: it shows too little of any class.
    """
    sources = _of_source(snapshot, choices, config)
    return CropStream(sources, FrameCache(SOURCE_CACHE_BYTES), seed, _restyle(snapshot, config))


def open_stream_of_both(
    snapshot: Path, choices: Sequence[DataChoice], target: Sequence[LabelledFrame], config: RoundConfig, seed: int
) -> CropStream:
    """Labelled crops of both domains, as many of the target as of the source.

    Raises:
        RoundError: the source changed since the snapshot.
        DataError: a domain shows too little of any class.
    """
    sources = _of_source(snapshot, choices, config)
    counts = np.stack([count_classes(read_labels(frame)) for frame in target])
    plain = config.crops.model_copy(update={"photometric": "none"})
    sources.append(FrameSource(tuple(target), counts, plain, sum(source.weight for source in sources)))
    return CropStream(sources, FrameCache(SOURCE_CACHE_BYTES), seed)


def _of_source(snapshot: Path, choices: Sequence[DataChoice], config: RoundConfig) -> list[FrameSource]:
    return [
        FrameSource(frames, counts, _settings(config, choice.layout), choice.weight)
        for choice, (frames, counts) in zip(choices, source_frames(snapshot, choices), strict=True)
    ]


def _restyle(snapshot: Path, config: RoundConfig) -> Restyle | None:
    """Gives each source frame the look of a target frame drawn at random."""
    if config.appearance == "none":
        return None
    target = TargetFrames(snapshot)

    def restyle(image_HW3: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        return transfer_appearance(config.appearance, image_HW3, target.draw(rng)[0])

    return restyle


def _settings(config: RoundConfig, layout: str) -> CropSettings:
    return config.crops.model_copy(update={"fit_hw": config.fit_hw_by_layout.get(layout, config.crops.fit_hw)})


class TargetFrames:
    """The snapshot's frames with what was asked of them, the first read kept in memory up to a bound."""

    def __init__(self, snapshot: Path) -> None:
        self._folder = snapshot
        self._frames = Snapshot.read(snapshot).frames
        self._labelled = tuple(frame for frame in self._frames if frame.asked_sha256 is not None)
        self._kept: dict[FrozenFrame, tuple[NDArray[np.uint8], NDArray[np.uint8]]] = {}
        self._free_bytes = TARGET_CACHE_BYTES

    def draw(
        self, rng: np.random.Generator, labelled_share: float = 0.0
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """RGB and asked train ids of one frame, each as likely as another; not to be written to.

        With a `labelled_share` so often of one in which people labelled something.
        """
        frames = self._labelled if self._labelled and rng.random() < labelled_share else self._frames
        frame = frames[int(rng.integers(len(frames)))]
        if (kept := self._kept.get(frame)) is not None:
            return kept
        image = read_image(self._folder / frame.image)
        asked = read_asked(self._folder, frame)
        if asked is None:
            asked = np.full(image.shape[:2], IGNORE_ID, dtype=np.uint8)
        if (size_bytes := image.nbytes + asked.nbytes) <= self._free_bytes:
            self._kept[frame] = (image, asked)
            self._free_bytes -= size_bytes
        return image, asked


class TargetStream:
    """Crops of the target's frames; where people labelled regions, crops that show some of them are preferred."""

    def __init__(self, snapshot: Path, config: RoundConfig, seed: int) -> None:
        self._frames = TargetFrames(snapshot)
        self._settings = config.crops
        self._margins = config.untrusted_margins
        self._seed = seed

    def crops(self, numbers: range) -> TargetCrops:
        images, asked, valid = zip(*(self._crop(number) for number in numbers), strict=True)
        return TargetCrops(np.stack(images), np.stack(asked), np.stack(valid))

    def _crop(self, number: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
        rng = np.random.default_rng((self._seed, number))
        image, asked = self._frames.draw(rng, LABELLED_SHARE)
        settings = self._settings
        box, asked_crop = draw_crop(
            rng, asked, fit_hw=settings.fit_hw, crop_hw=settings.crop_hw, scale_range=settings.scale_range
        )
        inside = box.cut_labels(self._trusted(*asked.shape)) == 1
        return box.cut_image(image), asked_crop, inside.astype(np.uint8)

    def _trusted(self, height: int, width: int) -> NDArray[np.uint8]:
        top, bottom, left, right = self._margins
        sides = (
            round(share * side) for share, side in ((top, height), (bottom, height), (left, width), (right, width))
        )
        return np.asarray(inside_margins(height, width, *sides))
