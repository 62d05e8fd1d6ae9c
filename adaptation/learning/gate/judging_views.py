"""A network's sober opinion of a frame: the mean of what it says of several views of it.

The views change what a network that was trained by day stumbles over in other light, and nothing of what is where: the
mirrored frame, and the frame in the colours of a labelled source frame.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adaptation.learning.data.appearance import match_lab
from adaptation.learning.gate.contestants import Contestant

SURE = 0.9
"""Mean probability over the views from which on a pixel's label counts as certain, if it is the same in every view."""


@dataclass(frozen=True)
class Opinion:
    """Of the cells of a frame."""

    probability_KHW: Tensor
    """Mean over the views."""
    label_HW: Tensor
    is_sure_HW: Tensor


def opinion(
    judge: Contestant, image_HW3: NDArray[np.uint8], plain_KHW: Tensor, style_HW3: NDArray[np.uint8]
) -> Opinion:
    """The judge's opinion of a frame whose plain view it has read already.

    Args:
        style_HW3: a source frame, whose colours the frame is given.
    """
    views = [plain_KHW, _mirrored(judge, image_HW3), judge.probabilities(judge.read(match_lab(image_HW3, style_HW3)))]
    views_VKHW = torch.stack(views)
    probability_KHW = views_VKHW.mean(dim=0)
    labels_VHW = views_VKHW.argmax(dim=1)
    confidence_HW, label_HW = probability_KHW.max(dim=0)
    alike_HW = (labels_VHW == label_HW).all(dim=0)
    return Opinion(probability_KHW, label_HW, alike_HW & (confidence_HW >= SURE))


def _mirrored(judge: Contestant, image_HW3: NDArray[np.uint8]) -> Tensor:
    """Less than a cell off the plain view's cells where padding begins within one."""
    return judge.probabilities(judge.read(np.ascontiguousarray(image_HW3[:, ::-1]))).flip(2)
