"""The simulated city's frames that the gate's benchmark trains and judges on, rendered once."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adaptation.learning.data.class_statistics import count_classes
from adaptation.learning.data.crop_stream import CropStream, FrameSource
from adaptation.learning.data.data_choice import DataChoice, choose_data
from adaptation.learning.data.frame_cache import FrameCache
from adaptation.learning.data.labelled_frames import LabelledFrame, read_labels
from clients.simulation.city.cityscapes_writer import write_cityscapes
from exchange.jobs.crops import CropSettings

SOURCE, TARGET = "sim-day", "sim-dusk"
_FRAMES_PER_DRIVE = 4
_CACHE_BYTES = 1 << 30


@dataclass(frozen=True)
class City:
    """Day with labels, dusk without; `val` frames are of drives that nothing was trained on."""

    size_hw: tuple[int, int]
    source: DataChoice
    source_held_out: DataChoice
    target: DataChoice
    """Self-training sees its frames; only candidates that are meant to be good see its labels."""
    target_held_out: DataChoice
    """The gate sees its frames; its labels are the truth that estimates are held against."""


def render_city(
    folder: Path, size_hw: tuple[int, int], frames: int, on_frame: Callable[[int, int], None], *, held_out: int
) -> City:
    """Renders `frames` of either domain to train on and `held_out` to judge by; what is there stays.

    A set is complete where its file `complete` is.
    """
    sets = [(domain, split) for domain in (SOURCE, TARGET) for split in ("train", "val")]
    total = 2 * (frames + held_out)
    done = 0
    for domain, split in sets:
        wanted = held_out if split == "val" else frames
        mark = folder / domain / f"{split}-{wanted}.complete"
        if not mark.exists():
            drives = max(wanted // _FRAMES_PER_DRIVE, 1)
            for _ in write_cityscapes(folder / domain, domain, split, wanted, drives, 0, size_hw):
                done += 1
                on_frame(done, total)
            mark.touch()
    chosen = {key: choose_data([folder / key[0]], key[1])[0] for key in sets}
    return City(size_hw, chosen[SOURCE, "train"], chosen[SOURCE, "val"], chosen[TARGET, "train"], chosen[TARGET, "val"])


def crop_settings(size_hw: tuple[int, int], *, wide: bool) -> CropSettings:
    """Crops of three quarters of the frames' height, with or without the wide photometric range."""
    side = size_hw[0] * 3 // 4 // 32 * 32
    return CropSettings(
        crop_hw=(side, side),
        fit_hw=size_hw,
        scale_range=(0.7, 1.6),
        photometric="wide" if wide else "none",
        rare_class_temperature=0.1,
        rare_class_min_pixels=size_hw[0] * size_hw[1] // 2000,
    )


def open_crops(frames: list[tuple[LabelledFrame, ...]], settings: CropSettings, seed: int) -> CropStream:
    """A stream that draws alike from each set of frames."""
    sources = []
    for some in frames:
        counts = np.stack([count_classes(read_labels(frame)) for frame in some])
        sources.append(FrameSource(some, counts, settings, weight=1.0))
    return CropStream(sources, FrameCache(_CACHE_BYTES), seed)
