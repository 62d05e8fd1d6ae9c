"""The endless stream of labelled training crops: a pure function of seed and position, so it resumes anywhere."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from adaptation.learning.data.class_statistics import count_classes
from adaptation.learning.data.cropping import CropBox, draw_crop
from adaptation.learning.data.frame_cache import FrameCache
from adaptation.learning.data.labelled_frames import DataError, LabelledFrame
from adaptation.learning.data.rare_class_sampling import RareClassSampler
from adaptation.learning.data.wide_photometric import vary_widely
from exchange.jobs.crops import CropSettings

Batch = TypeVar("Batch")
Restyle = Callable[[NDArray[np.uint8], np.random.Generator], NDArray[np.uint8]]
"""Gives a whole frame another look before it is cut."""

_RARE_CLASS_TRIES = 10


@dataclass(frozen=True)
class FrameSource:
    """One data set in the stream: its frames, their pixels by class [N, 19], and its share of the crops."""

    frames: tuple[LabelledFrame, ...]
    frame_counts: NDArray[np.int64]
    settings: CropSettings
    weight: float


@dataclass(frozen=True)
class LabelledCrops:
    images_NHWC: NDArray[np.uint8]
    labels_NHW: NDArray[np.uint8]


class CropStream:
    """Draws labelled crops from several data sets; crop number n is the same whenever and wherever it is drawn."""

    def __init__(
        self, sources: Sequence[FrameSource], cache: FrameCache, seed: int, restyle: Restyle | None = None
    ) -> None:
        self._sources = sources
        self._restyle = restyle
        self._cache = cache
        self._seed = seed
        self._samplers = [_sampler(source) for source in sources]
        weights = np.array([source.weight for source in sources], dtype=np.float64)
        self._shares = weights / weights.sum()

    def crops(self, numbers: range) -> LabelledCrops:
        """The crops of these numbers: images uint8 [N, H, W, 3] and train ids uint8 [N, H, W]."""
        images, labels = zip(*(self._crop(number) for number in numbers), strict=True)
        return LabelledCrops(np.stack(images), np.stack(labels))

    def _crop(self, number: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        rng = np.random.default_rng((self._seed, number))
        place = int(rng.choice(len(self._sources), p=self._shares))
        source = self._sources[place]
        drawn_class, index = self._samplers[place].draw(rng)
        image, labels = self._cache.read(source.frames[index])
        box, crop_labels = _draw_crop_with_class(rng, labels, source.settings, drawn_class)
        if self._restyle is not None:
            image = self._restyle(image, rng)
        crop = box.cut_image(image)
        return vary_widely(crop, rng) if source.settings.photometric == "wide" else crop, crop_labels


def _sampler(source: FrameSource) -> RareClassSampler:
    settings = source.settings
    if not (source.frame_counts > settings.rare_class_min_pixels).any():
        raise DataError(
            f"no frame beside {source.frames[0].image} shows more than {settings.rare_class_min_pixels} pixels of a"
            " class: give more or larger labelled frames"
        )
    return RareClassSampler(source.frame_counts, settings.rare_class_temperature, settings.rare_class_min_pixels)


def _draw_crop_with_class(
    rng: np.random.Generator, labels: NDArray[np.uint8], settings: CropSettings, wanted_class: int
) -> tuple[CropBox, NDArray[np.uint8]]:
    enough = settings.rare_class_min_pixels * settings.rare_class_min_crop_ratio
    for _ in range(_RARE_CLASS_TRIES + 1):
        box, crop_labels = draw_crop(
            rng, labels, fit_hw=settings.fit_hw, crop_hw=settings.crop_hw, scale_range=settings.scale_range
        )
        if count_classes(crop_labels)[wanted_class] > enough:
            break
    return box, crop_labels


def prefetch(draw: Callable[[int], Batch], iterations: range, threads: int) -> Iterator[tuple[int, Batch]]:
    """Yields (iteration, draw(iteration)) in order, with at most `threads` + 1 drawn ahead in threads."""
    with ThreadPoolExecutor(threads) as pool:
        ahead: list[tuple[int, Future[Batch]]] = []
        try:
            for iteration in iterations:
                ahead.append((iteration, pool.submit(draw, iteration)))
                if len(ahead) > threads:
                    first, future = ahead.pop(0)
                    yield first, future.result()
            for first, future in ahead:
                yield first, future.result()
        finally:
            for _, future in ahead:
                future.cancel()
