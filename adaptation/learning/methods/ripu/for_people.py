"""Regions that a person labels by one click: superpixels of the image, within a budget of clicks.

RIPU's own regions are 3 x 3 pixels whose every pixel is labelled, about a thousand a frame. Here a click names all of a
superpixel, as in "Revisiting Superpixels for Active Learning in Semantic Segmentation with Realistic Annotation Costs"
(Cai et al., CVPR 2021). Its outline comes from the image alone: where the network is torn, its own outlines are wrong,
and whoever names these teaches mistakes.
"""

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from adaptation.learning.methods.ripu.scores import region_scores
from exchange.regions.segments import MOST_RUNS, run_lengths, segment_of

_FEWEST_PIXELS_SHARE = 0.15
"""Of a square of the usual width: smaller specks cannot be told by people."""
_FARTHEST = 1.5
"""Widths from a superpixel's seed: in even areas the outlines go anywhere."""
_NOISE_LEVELS = 5.0
"""Of 255: below it, unevenness is the camera's."""


class AskedRegion(NamedTuple):
    """One superpixel; rows and columns of its box, the last ones excluded."""

    top: int
    bottom: int
    left: int
    right: int
    runs: tuple[int, ...]
    """Which pixels of the box it has (`exchange.regions.segments`)."""
    predicted: int
    """The class that the network takes most of it for."""
    value: float
    """Of a click."""

    @property
    def segment_hw(self) -> NDArray[np.bool_]:
        return segment_of(self.runs, (self.bottom - self.top, self.right - self.left))


def width_for_people(height: int) -> int:
    """Superpixels are about a sixteenth of the frame's height wide: 32 pixels of 512."""
    return max(height // 16, 3)


def regions_for_people(
    image_HW3: NDArray[np.uint8],
    logits_KHW: Tensor,
    asked_HW: NDArray[np.bool_],
    rng: np.random.Generator | None = None,
) -> list[AskedRegion]:
    """All superpixels of which most was not asked before, those whose label is worth most first.

    Worth is u * p * sqrt(n) / (5 + s): the mean entropy of the predictions in the superpixel, the share of the
    class predicted most, its pixels, and how uneven its colours are (mean standard deviation of the channels). A
    label teaches where the network is unsure, if it is one object that a person can name.

    Args:
        image_HW3: RGB, uint8.
        logits_KHW: at the image's size.
        asked_HW: where people were asked before.
        rng: values at random instead: what a selection is compared with.
    """
    width = width_for_people(image_HW3.shape[0])
    parts_HW = superpixels(image_HW3, width)
    predicted_HW = logits_KHW.argmax(dim=0).numpy()
    uncertainty_HW = region_scores(logits_KHW, radius=0).uncertainty_HW.numpy()
    found = []
    for rows, columns in _pixels_of_each(parts_HW):
        if len(rows) < _FEWEST_PIXELS_SHARE * width**2 or asked_HW[rows, columns].mean() > 0.5:
            continue
        counts_K = np.bincount(predicted_HW[rows, columns])
        predicted = int(counts_K.argmax())
        unevenness = float(image_HW3[rows, columns].std(axis=0).mean())
        value = float(uncertainty_HW[rows, columns].mean()) * counts_K[predicted] / len(rows)
        value *= np.sqrt(len(rows)) / (_NOISE_LEVELS + unevenness)
        region = _asked(rows, columns, predicted, float(value) if rng is None else float(rng.random()))
        if len(region.runs) <= MOST_RUNS:
            found.append(region)
    return sorted(found, key=lambda region: region.value, reverse=True)


def superpixels(image_HW3: NDArray[np.uint8], width: int) -> NDArray[np.int32]:
    """Numbers from 1 for the superpixels, int32 [H, W]; the pixels between two of them are 0 or less.

    A watershed of the smoothed image from one seed in each square of `width`, at its evenest place (Machairas et al.,
    "Waterpixels", IEEE TIP 2015, without its term for compact shapes).
    """
    smooth_HW3 = cv2.GaussianBlur(image_HW3, (0, 0), max(1.0, width / 16))
    gradient_HW = np.zeros(image_HW3.shape[:2], np.float32)
    for channel in range(3):
        plane_HW = np.ascontiguousarray(smooth_HW3[..., channel])
        gradient_HW += np.hypot(cv2.Sobel(plane_HW, cv2.CV_32F, 1, 0), cv2.Sobel(plane_HW, cv2.CV_32F, 0, 1))
    parts_HW = np.zeros(gradient_HW.shape, np.int32)
    seeds = _seeds(gradient_HW, width)
    for number, (row, column) in enumerate(seeds, start=1):
        parts_HW[row, column] = number
    cv2.watershed(np.ascontiguousarray(smooth_HW3), parts_HW)
    rows, columns = np.indices(parts_HW.shape, dtype=np.int32)
    seed_HW2 = np.array([(-1, -1), *seeds], np.int32)[parts_HW.clip(0)]
    distance_HW = np.maximum(abs(rows - seed_HW2[..., 0]), abs(columns - seed_HW2[..., 1]))
    parts_HW[distance_HW > _FARTHEST * width] = 0
    return parts_HW


def paint_answer(mask_HW: NDArray[np.uint8], region: AskedRegion, train_id: int) -> None:
    """Writes an answer, 255 for "unsure", to the region's pixels."""
    mask_HW[region.top : region.bottom, region.left : region.right][region.segment_hw] = train_id


def _seeds(gradient_HW: NDArray[np.float32], width: int) -> list[tuple[int, int]]:
    """The evenest pixel in the middle half of each square."""
    margin = width // 4
    found = []
    for top in range(0, gradient_HW.shape[0], width):
        for left in range(0, gradient_HW.shape[1], width):
            square_HW = gradient_HW[top : top + width, left : left + width]
            inner_HW = square_HW[margin : width - margin, margin : width - margin]
            if inner_HW.size:
                row, column = np.unravel_index(inner_HW.argmin(), inner_HW.shape)
                found.append((top + margin + int(row), left + margin + int(column)))
    return found


def _pixels_of_each(parts_HW: NDArray[np.int32]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Rows and columns of every superpixel."""
    flat = parts_HW.ravel()
    order = np.argsort(flat, kind="stable")
    starts = np.searchsorted(flat[order], np.arange(1, flat.max() + 2))
    for piece in np.split(order, starts)[1:-1]:
        rows, columns = np.divmod(piece, parts_HW.shape[1])
        yield rows, columns


def _asked(rows: NDArray[np.intp], columns: NDArray[np.intp], predicted: int, value: float) -> AskedRegion:
    top, left = int(rows.min()), int(columns.min())
    inside_HW = np.zeros((int(rows.max()) + 1 - top, int(columns.max()) + 1 - left), np.bool_)
    inside_HW[rows - top, columns - left] = True
    bottom, right = top + inside_HW.shape[0], left + inside_HW.shape[1]
    return AskedRegion(top, bottom, left, right, run_lengths(inside_HW), predicted, value)
