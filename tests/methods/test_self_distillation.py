"""Self-distillation's loss by its definition, and where it pushes nothing."""

import torch
import torch.nn.functional as F

from adaptation.learning.methods.distillation import self_distillation_loss

GENERATOR = torch.Generator().manual_seed(0)
STUDENT, TEACHER = (torch.randn(2, 19, 6, 8, generator=GENERATOR, dtype=torch.float64) for _ in range(2))
EVERYWHERE = torch.ones(2, 6, 8, dtype=torch.uint8)


def test_it_is_cross_entropy_of_the_labels_and_the_divergence() -> None:
    labels, probabilities = TEACHER.argmax(dim=1), TEACHER.softmax(dim=1)
    divergence = (probabilities * (probabilities.log() - STUDENT.log_softmax(dim=1))).sum(dim=1).mean()
    expected = 2 * F.cross_entropy(STUDENT, labels) + 3 * divergence
    torch.testing.assert_close(self_distillation_loss(STUDENT, TEACHER, EVERYWHERE, 2, 3), expected)


def test_pixels_beyond_the_frame_count_as_zero() -> None:
    half = EVERYWHERE.clone()
    half[:, :, 4:] = 0
    left = self_distillation_loss(STUDENT[..., :4], TEACHER[..., :4], EVERYWHERE[..., :4])
    torch.testing.assert_close(self_distillation_loss(STUDENT, TEACHER, half), left / 2)
    assert self_distillation_loss(STUDENT, TEACHER, torch.zeros_like(EVERYWHERE)) == 0


def test_a_student_like_its_teacher_is_not_moved_by_the_divergence() -> None:
    student, teacher = TEACHER.clone().requires_grad_(), TEACHER.clone().requires_grad_()
    self_distillation_loss(student, teacher, EVERYWHERE, hard_weight=0).backward()
    assert student.grad is not None
    assert student.grad.abs().max() < 1e-12
    assert teacher.grad is None
