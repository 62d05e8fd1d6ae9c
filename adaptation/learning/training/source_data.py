"""The labelled data sets of one training: listed, counted and made into one stream of crops."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from adaptation.learning.data.class_statistics import count_classes, is_present, pixel_frequency, scan_labels
from adaptation.learning.data.crop_stream import CropStream, FrameSource
from adaptation.learning.data.data_choice import DataChoice
from adaptation.learning.data.frame_cache import FrameCache
from adaptation.learning.data.labelled_frames import LabelledFrame
from adaptation.learning.training.recipes import TrainingConfig
from adaptation.learning.training.record import DataRecord
from exchange.label_space import NUM_CLASSES


@dataclass(frozen=True)
class SourceData:
    stream: CropStream
    records: tuple[DataRecord, ...]
    pixel_frequency: NDArray[np.float64]
    presence_counts: NDArray[np.int64]
    frames: int


def open_source_data(
    choices: Sequence[DataChoice],
    config: TrainingConfig,
    *,
    seed: int,
    cache_bytes: int,
    threads: int,
    on_frame: Callable[[int, int], None],
) -> SourceData:
    """Lists every data set, counts its classes (which checks every label file), and opens the stream of crops.

    Calls `on_frame` with the number of frames counted and to be counted.

    Raises:
        DataError: data that is missing or damaged.
    """
    cache = FrameCache(cache_bytes)
    listed = [choice.frames() for choice in choices]
    total = sum(map(len, listed))
    frame_counts = scan_labels(list(chain(*listed)), lambda frame: count_classes(cache.read(frame)[1]), threads)
    done = 0
    sources, records = [], []
    for choice, frames in zip(choices, listed, strict=True):
        counts_NK = np.empty((len(frames), NUM_CLASSES), np.int64)
        for index, counts in enumerate(islice(frame_counts, len(frames))):
            counts_NK[index] = counts
            on_frame(done := done + 1, total)
        sources.append(FrameSource(frames, counts_NK, config.crop_settings(choice.layout), choice.weight))
        records.append(_record(choice, frames, counts_NK))
    weights = np.array([source.weight for source in sources])
    frequency = weights / weights.sum() @ np.stack([pixel_frequency(source.frame_counts) for source in sources])
    present = np.concatenate([is_present(source.frame_counts, frequency) for source in sources])
    return SourceData(
        CropStream(sources, cache, seed), tuple(records), frequency, present.sum(axis=0), frames=len(present)
    )


def _record(choice: DataChoice, frames: Sequence[LabelledFrame], counts_NK: NDArray[np.int64]) -> DataRecord:
    names = "\n".join(frame.image.relative_to(choice.folder).as_posix() for frame in frames)
    return DataRecord(
        folder=choice.folder.name,
        layout=choice.layout,
        split=choice.split,
        sequences=choice.sequences,
        weight=choice.weight,
        frames=len(frames),
        sha256=hashlib.sha256(names.encode() + counts_NK.astype("<i8").tobytes()).hexdigest(),
    )
