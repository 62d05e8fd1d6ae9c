"""The pictures of a report: some frames, each with its labels before and after, and its truth where it has one."""

import base64
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from adaptation.learning.data.labelled_frames import read_image
from adaptation.learning.evaluation.evaluate import spread
from adaptation.learning.rounds.snapshot import Snapshot, read_truth
from exchange.images.labels import decode_index_png
from exchange.label_space import colorize

_FRAMES = 4
_WIDTH_PX = 420
_LABEL_OPACITY = 0.65


class Pictures(NamedTuple):
    """Data URLs of one frame."""

    name: str
    frame: str
    before: str
    after: str
    truth: str | None


def read_pictures(snapshot: Path, before: Path, after: Path) -> list[Pictures]:
    """Up to four frames, evenly spread over those that were labelled before and after."""
    frames = {frame.name: frame for frame in Snapshot.read(snapshot).frames}
    names = spread(sorted(path.stem for path in after.glob("*.png")), _FRAMES)
    pictures = []
    for name in names:
        image_HW3 = read_image(snapshot / frames[name].image)
        labels = [decode_index_png((folder / f"{name}.png").read_bytes()) for folder in (before, after)]
        truth_HW = read_truth(snapshot, frames[name])
        pictures.append(
            Pictures(
                name,
                _data_url(image_HW3),
                _data_url(_painted(image_HW3, labels[0])),
                _data_url(_painted(image_HW3, labels[1])),
                None if truth_HW is None else _data_url(_painted(image_HW3, truth_HW)),
            )
        )
    return pictures


def _painted(image_HW3: NDArray[np.uint8], labels_HW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    painted = cv2.addWeighted(colorize(labels_HW), _LABEL_OPACITY, image_HW3, 1 - _LABEL_OPACITY, 0)
    return painted.astype(np.uint8, copy=False)


def _data_url(image_HW3: NDArray[np.uint8]) -> str:
    height, width = image_HW3.shape[:2]
    if width > _WIDTH_PX:
        size = (_WIDTH_PX, round(height * _WIDTH_PX / width))
        image_HW3 = cv2.resize(image_HW3, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(image_HW3, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode()
