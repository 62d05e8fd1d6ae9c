"""CPSL's prototypes, rectification, queue, sampling and losses: the authors' reference numbers and the guards."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from adaptation.learning.methods.cpsl import (
    FeatureQueue,
    Prototypes,
    WeakView,
    class_balanced_pixels,
    class_shares,
    consistency_loss,
    contrastive_loss,
    distillation_loss,
    follow_view,
    prototype_weights,
    rectify,
    symmetric_cross_entropy,
    uniform_pixels,
    update_marginal,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_prototypes_are_the_authors(reference) -> None:
    numbers = reference("self_labeling_prototypes")
    prototypes = Prototypes(num_classes=19, channels=256)
    for batch in range(3):
        prototypes.update(numbers[f"feat_b{batch}"], numbers[f"classes_b{batch}"])
    torch.testing.assert_close(prototypes.vectors_CD, numbers["objective_vectors"], rtol=1e-5, atol=1e-7)
    assert torch.equal(prototypes.counts_C, numbers["objective_num"])


@pytest.mark.parametrize("momentum", [None, 1e-4])
def test_running_means_are_the_authors(reference, momentum: float | None) -> None:
    numbers = reference("self_labeling_prototypes")
    if momentum is None:
        checks = dict(zip(numbers["seq_at"].tolist(), numbers["seq_mean_first4"], strict=True))
    else:
        checks = {300: numbers["seq_movavg_300_first4"]}
    vectors = torch.from_numpy(np.random.RandomState(445).randn(max(checks), 256).astype(np.float32) + 1)
    prototypes = Prototypes(num_classes=1, channels=4, momentum=momentum)
    everywhere = torch.zeros(1, 2, 5, dtype=torch.int64)
    for image, vector in enumerate(vectors[:, :4], start=1):
        prototypes.update(vector.view(1, 4, 1, 1).expand(1, 4, 2, 5), everywhere)
        if image in checks:
            torch.testing.assert_close(prototypes.vectors_CD[0], checks[image], rtol=1e-5, atol=0)
    assert prototypes.counts_C.item() == min(max(checks), 3000)


def test_few_pixels_and_ignored_ones_make_no_prototype() -> None:
    prototypes = Prototypes(num_classes=3, channels=2)
    labels = torch.tensor([[[0] * 9 + [255] * 11]])
    prototypes.update(torch.ones(1, 2, 1, 20), labels)
    prototypes.update(torch.full((1, 2, 1, 20), math.nan), torch.ones_like(labels))
    assert not prototypes.counts_C.any()
    weights = prototype_weights(torch.randn(1, 2, 4, 4), prototypes.normalized())
    torch.testing.assert_close(weights, torch.full((1, 3, 4, 4), 1 / 3))


def test_rectified_labels_are_the_authors(reference) -> None:
    numbers = reference("self_labeling_prototypes")
    height, width, *crop, flipped = numbers["view"].tolist()
    features = follow_view(
        numbers["feat_full_quarter"][0].float(), WeakView((height, width), tuple(crop), bool(flipped))
    )
    torch.testing.assert_close(features[::32][None], numbers["feat_weak"], rtol=1e-5, atol=1e-6)
    weights = prototype_weights(features[None], numbers["prototypes_ema"])
    torch.testing.assert_close(weights, numbers["weights"], rtol=1e-5, atol=0)
    for soft in ("soft_crop", "soft_quarter"):
        rectified = rectify(weights, numbers[soft])
        assert torch.equal(rectified.labels_Nhw.byte(), numbers["rectified_label"])
        torch.testing.assert_close(rectified.confidence_Nhw, numbers["rectified_conf"], rtol=1e-5, atol=0)


def test_doubtful_and_impossible_labels_are_ignored() -> None:
    weights = torch.full((1, 2, 1, 3), 0.5)
    soft = torch.tensor([[0.9, 0.6, 0.0], [0.1, 0.4, 0.0]]).view(1, 2, 1, 3)
    rectified = rectify(weights, soft, threshold=0.8)
    assert rectified.labels_Nhw.tolist() == [[[0, 255, 255]]]
    assert rectify(weights, soft).labels_Nhw.tolist() == [[[0, 0, 255]]]
    torch.testing.assert_close(rectified.confidence_Nhw, torch.tensor([[[0.9, 0.6, 0.0]]]))


def test_the_queue_keeps_the_newest_rows_with_their_labels() -> None:
    queue = FeatureQueue(capacity=5, channels=1)
    assert queue.filled()[0].shape == (0, 1)
    for first in (0, 3, 6):
        rows = torch.arange(first, first + 3)
        queue.push(rows[:, None].float(), rows)
        assert queue.full == (first > 0)
        features, labels = queue.filled()
        assert torch.equal(features[:, 0].long(), labels)
        assert sorted(labels.tolist()) == list(range(max(first - 2, 0), first + 3))
    queue.push(torch.arange(20.0)[:, None])
    features, labels = queue.filled()
    assert sorted(features[:, 0].tolist()) == [15, 16, 17, 18, 19]
    assert (labels == 255).all()


def test_the_queue_survives_a_checkpoint() -> None:
    queue, restored = FeatureQueue(3, 2), FeatureQueue(3, 2)
    queue.push(torch.randn(2, 2), torch.tensor([4, 5]))
    restored.load_state_dict(queue.state_dict())
    assert torch.equal(restored.filled()[0], queue.filled()[0])
    assert restored.filled()[1].tolist() == [4, 5]


def test_class_shares_are_the_authors(reference) -> None:
    numbers = reference("self_labeling_prototypes")
    torch.testing.assert_close(class_shares(numbers["shares_classes"], 19), numbers["shares"])
    assert not class_shares(torch.full((3, 3), 255), 19).any()


def test_class_balanced_pixels_mirror_the_image() -> None:
    labels = torch.tensor([0] * 700 + [1] * 200 + [2] * 60 + [255] * 40)
    chosen = class_balanced_pixels(labels, class_shares(labels, 4), samples=96, generator=seeded())
    assert labels[chosen].bincount(minlength=4).tolist() == [70, 20, 6, 0]
    assert len(chosen.unique()) == len(chosen)
    nothing = torch.full((10,), 255)
    assert len(class_balanced_pixels(nothing, class_shares(nothing, 4), 96, seeded())) == 0
    assert len(uniform_pixels(1000, 96, seeded()).unique()) == 96


def test_the_marginal_follows_slowly_and_never_empties() -> None:
    marginal, shares = torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0])
    torch.testing.assert_close(update_marginal(marginal, shares, 0.9), torch.tensor([0.55, 0.45]))
    assert torch.equal(update_marginal(marginal, torch.zeros(2), 0.9), marginal)


def test_symmetric_cross_entropy_is_the_authors(reference) -> None:
    numbers = reference("self_labeling_losses")
    logits, labels = numbers["logits"].clone().requires_grad_(), numbers["label"].clone()
    loss = symmetric_cross_entropy(logits, labels)
    loss.backward()
    torch.testing.assert_close(loss.detach(), numbers["sce"], rtol=1e-5, atol=0)
    torch.testing.assert_close(logits.grad[..., ::2, ::2], numbers["sce_grad"], rtol=1e-5, atol=1e-9)
    assert torch.equal(labels, numbers["label"])
    for alpha, beta, part in ((1, 0, "ce"), (0, 1, "rce")):
        torch.testing.assert_close(
            symmetric_cross_entropy(logits.detach(), labels, alpha, beta), numbers[part], rtol=1e-5, atol=0
        )


def test_contrastive_loss_is_the_authors(reference) -> None:
    numbers = reference("self_labeling_losses")
    features = numbers["feats"].clone().requires_grad_()
    loss = contrastive_loss(features, numbers["feat_label"], numbers["queue"], numbers["queue_label"])
    loss.backward()
    torch.testing.assert_close(loss.detach(), numbers["contrast"], rtol=1e-5, atol=0)
    torch.testing.assert_close(features.grad, numbers["contrast_grad"], rtol=1e-5, atol=5e-8)


def test_distillation_is_the_authors_and_the_proper_one(reference) -> None:
    numbers = reference("self_labeling_losses")
    student, teacher = numbers["kd_student_prob"], numbers["kd_teacher_prob"]
    torch.testing.assert_close(distillation_loss(student, teacher), numbers["kd_proper"], rtol=1e-5, atol=0)
    as_released = distillation_loss(student, teacher, as_released=True)
    torch.testing.assert_close(as_released, numbers["kd_as_coded"], rtol=1e-5, atol=0)


def test_consistency_is_a_mean_over_counted_pixels_and_classes() -> None:
    logits, teacher = torch.randn(2, 3, 4, 4, generator=seeded()), torch.rand(2, 3, 4, 4, generator=seeded(1))
    teacher = teacher / teacher.sum(dim=1, keepdim=True)
    counted = torch.zeros(2, 4, 4, dtype=torch.bool)
    counted[0, :2] = True
    divergence = (teacher * (teacher.log() - logits.log_softmax(dim=1))).sum(dim=1)
    torch.testing.assert_close(consistency_loss(logits, teacher, counted), divergence[counted].sum() / (8 * 3))
    assert consistency_loss(logits, torch.zeros_like(teacher), counted).isfinite()


@given(scale=st.sampled_from([0.0, 1.0, 1e4]), ignored=st.sampled_from([0.0, 0.5, 1.0]), seed=st.integers(0, 99))
def test_losses_and_gradients_are_finite_whatever_is_ignored(scale: float, ignored: float, seed: int) -> None:
    generator = seeded(seed)
    logits = (scale * torch.randn(1, 4, 3, 3, generator=generator)).requires_grad_()
    labels = torch.randint(4, (1, 3, 3), generator=generator)
    labels[torch.rand(1, 3, 3, generator=generator) < ignored] = 255
    teacher = (scale * torch.randn(1, 4, 3, 3, generator=generator)).softmax(dim=1)
    pixels = torch.nn.functional.normalize(logits.flatten(2)[0].T, dim=1)
    queue = torch.nn.functional.normalize(torch.randn(6, 4, generator=generator), dim=1)
    losses = (
        symmetric_cross_entropy(logits, labels),
        consistency_loss(logits, teacher, labels != 255),
        contrastive_loss(pixels, labels.flatten(), queue, torch.randint(4, (6,), generator=generator)),
        contrastive_loss(pixels, labels.flatten(), queue, torch.zeros(6)),
        contrastive_loss(pixels, labels.flatten(), queue[:0], torch.zeros(0)),
        contrastive_loss(pixels[:0], labels.flatten()[:0], queue, torch.zeros(6)),
        distillation_loss(logits.softmax(dim=1), teacher),
    )
    assert all(loss.isfinite() for loss in losses)
    sum(losses).backward()
    assert logits.grad.isfinite().all()
    if ignored == 1:
        assert losses[0] == losses[1] == 0
