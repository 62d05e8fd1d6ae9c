"""Scaled, flipped crops of one size, taken from a frame in a single resampling."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from adaptation.learning.data.class_statistics import count_classes
from exchange.images.frame_fitting import fitted_size
from exchange.label_space import IGNORE_ID

_MAX_CLASS_SHARE = 0.75
_CROP_TRIES = 10


@dataclass(frozen=True)
class CropBox:
    """Where a crop lies: the scale (rows, columns) that brings the frame to the crop's pixels, its corner there."""

    scale_yx: tuple[float, float]
    top_left: tuple[int, int]
    size_hw: tuple[int, int]
    flipped: bool

    def _affine(self) -> NDArray[np.float64]:
        """The map from crop pixels (x, y, 1) to frame pixels, pixel centres at integers."""
        (scale_y, scale_x), (top, left) = self.scale_yx, self.top_left
        row_x = [1 / scale_x, 0, (left + 0.5) / scale_x - 0.5]
        if self.flipped:
            row_x = [-1 / scale_x, 0, (left + self.size_hw[1] - 0.5) / scale_x - 0.5]
        return np.array([row_x, [0, 1 / scale_y, (top + 0.5) / scale_y - 0.5]])

    def cut_image(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Bilinear, uint8 [h, w, 3]; beyond the frame its edge is repeated, as the served frames are padded."""
        return self._cut(image, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)

    def cut_labels(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Nearest neighbour, uint8 [h, w]; ignored beyond the frame."""
        return self._cut(labels, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT)

    def _cut(self, source: NDArray[np.uint8], interpolation: int, border: int) -> NDArray[np.uint8]:
        return cv2.warpAffine(
            source,
            self._affine(),
            (self.size_hw[1], self.size_hw[0]),
            flags=interpolation | cv2.WARP_INVERSE_MAP,
            borderMode=border,
            borderValue=(IGNORE_ID,),
        ).astype(np.uint8, copy=False)


def draw_crop(
    rng: np.random.Generator,
    labels: NDArray[np.uint8],
    *,
    fit_hw: tuple[int, int],
    crop_hw: tuple[int, int],
    scale_range: tuple[float, float],
) -> tuple[CropBox, NDArray[np.uint8]]:
    """Draws a crop as HRDA's authors do, and cuts its labels.

    The frame is fitted into `fit_hw` with its aspect kept, scaled by a factor drawn log-uniformly, and cut where
    a corner drawn uniformly says; up to ten times, until more than one class is seen and none covers 75 % of the
    labelled pixels. Half of the crops are flipped.

    Returns:
        The box, and its labels uint8 [h, w].
    """
    fitted = fitted_size((labels.shape[0], labels.shape[1]), fit_hw)
    factor = float(np.exp(rng.uniform(*np.log(scale_range))))
    scaled = (max(1, int(fitted[0] * factor + 0.5)), max(1, int(fitted[1] * factor + 0.5)))
    scale_yx = (scaled[0] / labels.shape[0], scaled[1] / labels.shape[1])
    flipped = bool(rng.random() < 0.5)
    for _ in range(_CROP_TRIES):
        top, left = (int(rng.integers(max(side - crop, 0) + 1)) for side, crop in zip(scaled, crop_hw, strict=True))
        box = CropBox(scale_yx, (top, left), crop_hw, flipped)
        cut = box.cut_labels(labels)
        counts = count_classes(cut)
        if (counts > 0).sum() > 1 and counts.max() < _MAX_CLASS_SHARE * counts.sum():
            break
    return box, cut
