"""What a release sees of its source, measured as serving measures what it sees of a target: by the engine itself.

The live prior divides the one by the other, so that what the network overlooks everywhere counts as no change
("Undoing the Damage of Label Shift for Cross-domain Semantic Segmentation", CVPR 2022, with presence by eq. 17).
"""

from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np

from adaptation.learning.export.engines import open_engine
from adaptation.learning.export.parity import FrameAndValid
from exchange.registry.releases import ENGINE_FOLDER, Manifest

SOURCE_PRESENCE_FRAMES = 128
"""Frames of the source that are looked at: they give a share within 5 % (one standard error)."""
FEWEST_FRAMES = 32


def measure_source_presence(
    release_dir: Path, manifest: Manifest, frames: Iterable[FrameAndValid]
) -> list[float] | None:
    """Share of the frames in which the release's engine sees each class, [K]; None for fewer than 32 frames.

    A class without any source pixel has no threshold, and is seen nowhere.
    """
    some = iter(frames)
    if (first := next(some, None)) is None:
        return None
    threshold_K = np.array(manifest.source_pixel_frequency)
    engine = open_engine(release_dir / ENGINE_FOLDER, manifest)
    seen_K, count = np.zeros(len(threshold_K), np.int64), 0
    for frame, valid_hw in chain([first], some):
        presence_K = engine.infer(frame, valid_hw=valid_hw).presence_K
        seen_K += (presence_K > threshold_K) & (threshold_K > 0)
        count += 1
    return (seen_K / count).tolist() if count >= FEWEST_FRAMES else None
