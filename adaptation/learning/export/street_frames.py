"""Street frames that ship with the package, so that parity is on streets where no data is given.

One of each domain of the simulated city, drawn by `roadshift simulate --domain DOMAIN --frames 1 --split val --seed 77`
and stored as JPEG of quality 80.
"""

from collections.abc import Iterator
from pathlib import Path

from adaptation.learning.data.labelled_frames import read_image
from adaptation.learning.export.parity import FrameAndValid
from exchange.images.frame_fitting import fit_frame

_FOLDER = Path(__file__).parent / "frames"


def street_frames(frame_size: tuple[int, int], most: int | None = None) -> Iterator[FrameAndValid]:
    """All four, or the first few, fitted into a release's size."""
    for path in sorted(_FOLDER.glob("*.jpg"))[:most]:
        yield fit_frame(read_image(path), frame_size)
