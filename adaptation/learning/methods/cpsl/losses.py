"""CPSL's losses (Li et al., CVPR 2022). Each is 0, with zero gradient, where nothing counts.

The authors' weights: L_CTS (symmetric cross entropy) 1, consistency 5, self-labelling 0.1, contrastive 0.001.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from adaptation.learning.methods.cpsl.transport import sinkhorn
from exchange.label_space import IGNORE_ID


def symmetric_cross_entropy(logits_NCHW: Tensor, labels_NHW: Tensor, alpha: float = 0.1, beta: float = 1.0) -> Tensor:
    """alpha * cross entropy + beta * reverse cross entropy (Wang et al., ICCV 2019), means over labelled pixels.

    The reverse term takes log of the one-hot label, cut to [1e-4, 1], under the prediction, cut to [1e-7, 1]. The
    labels are left as they are (the authors' function overwrites them).
    """
    labels_NHW = labels_NHW.long()
    labelled_NHW = labels_NHW != IGNORE_ID
    forward = F.cross_entropy(logits_NCHW, labels_NHW, ignore_index=IGNORE_ID, reduction="sum")
    probabilities_NCHW = logits_NCHW.softmax(dim=1).clamp(1e-7, 1)
    true_NHW = probabilities_NCHW.gather(1, labels_NHW.where(labelled_NHW, 0).unsqueeze(1)).squeeze(1)
    # log 1 = 0 for the true class, log 1e-4 for every other one.
    reverse_NHW = math.log(1e-4) * (true_NHW - probabilities_NCHW.sum(dim=1))
    count = labelled_NHW.sum()
    reverse = (reverse_NHW * labelled_NHW).sum() / (count + 1e-6)
    return alpha * forward / count.clamp(min=1) + beta * reverse


def self_labels(
    scores_BC: Tensor,
    queue_scores_QC: Tensor | None,
    class_marginal_C: Tensor,
    epsilon: float = 0.05,
    iterations: int = 3,
) -> Tensor:
    """Balanced soft labels of a batch of pixels, [B, C], assigned together with the queue's rows (if any)."""
    scores = scores_BC if queue_scores_QC is None else torch.cat([queue_scores_QC, scores_BC])
    return sinkhorn(scores.detach(), class_marginal_C, epsilon, iterations)[-len(scores_BC) :]


def self_labeling_loss(scores_BC: Tensor, self_labels_BC: Tensor, temperature: float = 0.08) -> Tensor:
    """L_SL: cross entropy of softmax(scores / temperature) under the self-labels, mean over pixels.

    As the authors compute scores (features without gradient), only the prototypes learn from it.
    """
    if len(scores_BC) == 0:
        return scores_BC.sum()
    return -(self_labels_BC * (scores_BC / temperature).log_softmax(dim=1)).sum(dim=1).mean()


def consistency_loss(student_logits_NCHW: Tensor, teacher_probabilities_NCHW: Tensor, counted_NHW: Tensor) -> Tensor:
    """KL(teacher || student) of a strongly augmented view over the counted pixels, divided by their number **and C**.

    `counted_NHW` is False where the augmentation left no counterpart (borders, cut-outs).
    """
    log_student_NCHW = student_logits_NCHW.log_softmax(dim=1)
    divergence_NHW = F.kl_div(log_student_NCHW, teacher_probabilities_NCHW, reduction="none").sum(dim=1)
    entries = counted_NHW.sum() * student_logits_NCHW.shape[1]
    return (divergence_NHW * counted_NHW).sum() / entries.clamp(min=1)


def contrastive_loss(
    features_BD: Tensor, labels_B: Tensor, queue_QD: Tensor, queue_labels_Q: Tensor, temperature: float = 0.08
) -> Tensor:
    """Supervised contrastive loss of pixels against the queue: same class attracts, others repel.

    Features are L2-normalised by the caller. For each positive, the denominator holds it and all negatives; a pixel
    without a positive in the queue counts as 0 in the mean.
    """
    logits_BQ = features_BD @ queue_QD.T / temperature
    positive_BQ = labels_B[:, None] == queue_labels_Q[None]
    # A finite filler: with -inf, a pixel without any negative would have a NaN gradient.
    negatives_B1 = logits_BQ.masked_fill(positive_BQ, -1e4).logsumexp(dim=1, keepdim=True)
    log_probability_BQ = logits_BQ - torch.logaddexp(logits_BQ, negatives_B1)
    losses_B = -(positive_BQ * log_probability_BQ).sum(dim=1) / (positive_BQ.sum(dim=1) + 1e-5)
    return losses_B.sum() / max(len(losses_B), 1)


def distillation_loss(
    student_probabilities_NCHW: Tensor, teacher_probabilities_NCHW: Tensor, as_released: bool = False
) -> Tensor:
    """KL(teacher || student), mean over N, C, H and W: the teacher's soft labels in stages 2 and 3.

    `as_released` passes the student's probabilities where their logarithm belongs, as the authors' code does: its
    gradient pushes towards the teacher's largest class and the value may be negative.
    """
    student = student_probabilities_NCHW
    if not as_released:
        student = student.clamp(min=torch.finfo(student.dtype).tiny).log()
    return F.kl_div(student, teacher_probabilities_NCHW, reduction="none").mean()
