"""How far a network's probabilities can be believed, measured on labelled frames that it was not trained on.

Two numbers of the manifest: the temperature by which logits are divided so that probabilities are right on average
("On Calibration of Modern Neural Networks", Guo et al., ICML 2017), and the threshold of average thresholded confidence
("Leveraging Unlabeled Data to Predict Out-of-Distribution Performance", Garg et al., ICLR 2022): the share of source
pixels whose highest calibrated probability exceeds it is the accuracy on the source, so the share of target pixels that
exceed it estimates the accuracy there.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from adaptation.learning.data.labelled_frames import LabelledFrame, read_frame
from adaptation.learning.export.engine_logits import FrameLogits
from adaptation.learning.export.parity import FrameAndValid
from exchange.images.frame_fitting import fit_frame
from exchange.label_space import IGNORE_ID

LabelledFit = tuple[FrameAndValid, NDArray[np.uint8]]
"""A frame fitted into a release's size, and the train ids of its valid part."""

CALIBRATION_FRAMES = 48
"""Frames of the source that a calibration is measured on."""
FEWEST_PIXELS = 1000
_PIXELS_PER_FRAME = 4096
_LOWEST, _HIGHEST = 0.1, 10.0
_SEARCH_STEPS = 40


@dataclass(frozen=True)
class Calibration:
    temperature: float
    atc_threshold: float


class CalibrationSample:
    """Pixels of labelled frames with their logits, gathered frame by frame."""

    def __init__(self) -> None:
        self._logits: list[Tensor] = []
        self._truth: list[Tensor] = []

    def add(self, logits: FrameLogits, labels_HW: NDArray[np.uint8]) -> None:
        """`labels_HW`: train ids of the valid part of the engine's frame, 255 where unknown."""
        logits_KM, truth_M = logits.grid_KHW.flatten(1), torch.from_numpy(logits.cells_of(labels_HW)).flatten()
        known_M = (truth_M != IGNORE_ID).nonzero().squeeze(1)
        step = max(len(known_M) // _PIXELS_PER_FRAME, 1)
        self._logits.append(logits_KM[:, known_M[::step]].T)
        self._truth.append(truth_M[known_M[::step]].long())

    def fit(self) -> Calibration | None:
        """None where there are too few labelled pixels to say anything."""
        if sum(map(len, self._truth)) < FEWEST_PIXELS:
            return None
        return fit_calibration(torch.cat(self._logits), torch.cat(self._truth))


def fit_labelled(frame: LabelledFrame, frame_size: tuple[int, int]) -> LabelledFit:
    """Raises DataError where the frame cannot be read."""
    image_HW3, labels_HW = read_frame(frame)
    fitted, valid_hw = fit_frame(image_HW3, frame_size)
    return (fitted, valid_hw), fit_labels(labels_HW, valid_hw)


def fit_labels(labels_HW: NDArray[np.uint8], valid_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Labels brought to another size by nearest neighbour, uint8."""
    if labels_HW.shape == valid_hw:
        return labels_HW
    size = (valid_hw[1], valid_hw[0])
    return cv2.resize(labels_HW, size, interpolation=cv2.INTER_NEAREST_EXACT).astype(np.uint8, copy=False)


def calibrate_on(labelled: Iterable[tuple[FrameLogits, NDArray[np.uint8]]]) -> Calibration | None:
    """`CalibrationSample` over frames and the labels of their valid parts."""
    sample = CalibrationSample()
    for logits, labels_HW in labelled:
        sample.add(logits, labels_HW)
    return sample.fit()


def fit_calibration(logits_MK: Tensor, truth_M: Tensor) -> Calibration:
    """The temperature of the least cross entropy between 0.1 and 10, and the threshold that it leads to."""
    # Cross entropy is convex in the inverse temperature, so thirds of its interval may be cut off one by one.
    low, high = 1 / _HIGHEST, 1 / _LOWEST
    for _ in range(_SEARCH_STEPS):
        third = (high - low) / 3
        left, right = (float(F.cross_entropy(logits_MK * scale, truth_M)) for scale in (low + third, high - third))
        low, high = (low, high - third) if left < right else (low + third, high)
    temperature = 2 / (low + high)
    confidence_M, label_M = (logits_MK / temperature).softmax(dim=1).max(dim=1)
    wrong = int((label_M != truth_M).sum())
    ascending_M = confidence_M.sort().values
    # As many confidences as there are errors lie at or below the threshold.
    threshold = float(ascending_M[wrong - 1]) if wrong else float(np.nextafter(ascending_M[0].numpy(), np.float32(0)))
    return Calibration(temperature, threshold)
