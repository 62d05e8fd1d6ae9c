"""Rare-class sampling (DAFormer, Hoyer et al., CVPR 2022, eq. 9-10): frames with rare classes are drawn more often."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def class_probabilities(pixel_counts: NDArray[np.int64], temperature: float) -> NDArray[np.float64]:
    """Probability of drawing each class: softmax((1 - frequency) / temperature) over the classes that occur.

    Args:
        pixel_counts: labelled pixels by class, [K]. A class without pixels is never drawn.
        temperature: the authors use 0.01; higher is closer to uniform.
    """
    frequency = pixel_counts / pixel_counts.sum()
    score = np.where(pixel_counts > 0, (1.0 - frequency) / temperature, -np.inf)
    weight = np.exp(score - score.max())
    return np.asarray(weight / weight.sum())


class RareClassSampler:
    """Draws a class by its rarity, then one of the frames that show enough of it."""

    def __init__(self, frame_counts: NDArray[np.int64], temperature: float, min_pixels: int) -> None:
        """Takes pixels by frame and class [N, K]; a frame stands for a class with more than `min_pixels` of it."""
        self._frames_by_class: Sequence[NDArray[np.intp]] = [
            np.flatnonzero(column > min_pixels) for column in frame_counts.T
        ]
        drawable = np.array([len(frames) > 0 for frames in self._frames_by_class])
        self.probabilities = class_probabilities(frame_counts.sum(axis=0) * drawable, temperature)

    def draw(self, rng: np.random.Generator) -> tuple[int, int]:
        """Draws a class and the index of a frame that shows it."""
        drawn_class = int(rng.choice(len(self.probabilities), p=self.probabilities))
        return drawn_class, int(rng.choice(self._frames_by_class[drawn_class]))
