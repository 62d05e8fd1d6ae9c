"""Soft labels whose class shares follow a given marginal: entropic optimal transport between pixels and classes.

Source: "Class-Balanced Pixel-Level Self-Labeling for Domain Adaptive Semantic Segmentation" (CPSL, Li et al., CVPR
2022), solved by Sinkhorn-Knopp (Cuturi, 2013). Give it thousands of pixels of many frames (`FeatureQueue`): on one
frame alone a global marginal puts 16-25 % of the mass on classes that the frame does not hold.
"""

import torch
from numpy.typing import ArrayLike
from torch import Tensor

LOWEST_MARGINAL = 1e-8
"""A class share below this is raised to it; the authors' version turns every entry into NaN for a share of 0."""

_LARGEST_SCORE = 1e30


def sinkhorn(scores_BC: Tensor, class_marginal: ArrayLike, epsilon: float = 0.05, iterations: int = 3) -> Tensor:
    """Assigns B pixels to C classes: each row of the result sums to 1, columns approach B * class_marginal.

    The authors exponentiate in float32 and overflow for scores above 4.4; this works on logarithms in float64 and is
    finite for every input (a NaN score counts as 0). It ends on the rows, as theirs, so that the columns only
    approach their share: off by 0.014 after 3 iterations, by 1e-9 after 50.

    Args:
        scores_BC: similarity of pixel and class, usually cosines.
        class_marginal: share of each class, [C].
        epsilon: weight of the entropy; smaller is nearer to hard labels.
        iterations: pairs of normalisations; 0 is softmax(scores / epsilon).

    Returns:
        Tensor like scores_BC.
    """
    scores = scores_BC.double().nan_to_num(nan=0.0).clamp(-_LARGEST_SCORE, _LARGEST_SCORE)
    log_marginal_C = torch.as_tensor(class_marginal, dtype=torch.float64, device=scores.device)
    log_marginal_C = log_marginal_C.clamp(min=LOWEST_MARGINAL).log()
    log_assignment = scores / epsilon
    for _ in range(iterations):
        log_assignment = log_assignment.log_softmax(dim=0) + log_marginal_C
        log_assignment = log_assignment.log_softmax(dim=1)
    return log_assignment.softmax(dim=1).to(scores_BC.dtype)
