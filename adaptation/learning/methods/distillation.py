"""The last stage of FADA, "Undoing the Damage" and CPSL (their rows "SD"): one network's labels teach another.

The first two train a fresh network by cross entropy on hard labels without a threshold; CPSL adds the divergence from
the teacher's probabilities.
"""

import torch.nn.functional as F
from torch import Tensor

from exchange.label_space import IGNORE_ID


def self_distillation_loss(
    student_logits_NCHW: Tensor,
    teacher_logits_NCHW: Tensor,
    valid_NHW: Tensor,
    hard_weight: float = 1.0,
    soft_weight: float = 1.0,
) -> Tensor:
    """Cross entropy of the teacher's labels plus KL(teacher || student), each averaged over ALL pixels.

    Args:
        valid_NHW: 0 where a pixel counts nothing (beyond the frame's edge), else 1.
    """
    counted_NHW = valid_NHW.bool()
    teacher_logits_NCHW = teacher_logits_NCHW.detach()
    labels_NHW = teacher_logits_NCHW.argmax(dim=1).masked_fill(~counted_NHW, IGNORE_ID)
    hard_NHW = F.cross_entropy(student_logits_NCHW, labels_NHW, ignore_index=IGNORE_ID, reduction="none")
    soft_NHW = F.kl_div(
        student_logits_NCHW.log_softmax(dim=1),
        teacher_logits_NCHW.log_softmax(dim=1),
        reduction="none",
        log_target=True,
    ).sum(dim=1)
    return hard_weight * hard_NHW.mean() + soft_weight * soft_NHW.where(counted_NHW, 0).mean()
