"""What every loaded engine is to those who call it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from exchange.label_space import NUM_CLASSES

Arrays = Sequence[NDArray[Any]]


class FrameOutputs(NamedTuple):
    """The contract's outputs, in its order."""

    label_HW: NDArray[np.uint8]
    confidence_HW: NDArray[np.uint8]
    presence_K: NDArray[np.float32]
    mean_probability_K: NDArray[np.float32]


@dataclass(frozen=True)
class LoadedEngine:
    """An engine, ready to label frames of its release's size, one at a time."""

    run: Callable[[Arrays], Arrays]
    """The contract's inputs to its outputs, both in its order. What it gives may be overwritten by the next call."""

    def infer(
        self,
        frame_HW3: NDArray[np.uint8],
        log_prior_ratio_K: NDArray[np.float32] | None = None,
        valid_hw: tuple[int, int] | None = None,
    ) -> FrameOutputs:
        """Labels one RGB frame; without adjustment and padding unless they are given."""
        ratio_K = np.zeros(NUM_CLASSES, np.float32) if log_prior_ratio_K is None else log_prior_ratio_K
        outputs = self.run([frame_HW3, ratio_K, np.array(valid_hw or frame_HW3.shape[:2], np.int32)])
        return FrameOutputs(*(np.array(output) for output in outputs))


def run_eagerly(module: Callable[..., Sequence[Tensor]]) -> LoadedEngine:
    """A graph, or any torch function of the contract's tensors, as an engine on the CPU."""

    def run(inputs: Arrays) -> Arrays:
        with torch.inference_mode():
            return [tensor.numpy() for tensor in module(*map(torch.from_numpy, inputs))]

    return LoadedEngine(run)
