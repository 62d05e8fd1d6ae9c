"""RIPU's two losses against the authors' reference numbers; zero where theirs are NaN."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from adaptation.learning.methods.ripu import boundary_consistency_loss, label_boundary, negative_learning_loss


@pytest.fixture
def numbers(reference):
    return reference("region_losses")


def test_boundaries_are_the_authors(numbers) -> None:
    for label, boundary in (
        ("label", "boundary_mask"),
        ("label_clean", "clean_boundary"),
        ("cancel_label", "cancel_boundary"),
    ):
        assert torch.equal(label_boundary(numbers[label]), numbers[boundary])
    assert not label_boundary(numbers["cancel_label"]).all()


@pytest.mark.parametrize(
    ("label", "loss", "gradient"),
    [("label", "lcr_l1", "lcr_grad_l1"), ("label_clean", "clean_lcr_l1", "clean_lcr_grad")],
)
def test_boundary_consistency_is_the_authors(numbers, label: str, loss: str, gradient: str) -> None:
    logits = numbers["logits_cr"].clone().requires_grad_()
    found = boundary_consistency_loss(logits, numbers[label])
    found.backward()
    torch.testing.assert_close(found.detach(), numbers[loss], rtol=1e-5, atol=0)
    torch.testing.assert_close(logits.grad[..., ::4, ::4], numbers[gradient], rtol=1e-5, atol=1e-9)


def test_boundary_consistency_by_divergence_is_the_authors(numbers) -> None:
    found = boundary_consistency_loss(numbers["logits_cr"], numbers["label"], distance="kl")
    torch.testing.assert_close(found, numbers["lcr_kl"], rtol=1e-5, atol=0)


def test_one_class_has_a_boundary_at_the_image_border_only(numbers) -> None:
    logits, fives = numbers["logits_cr"], torch.full_like(numbers["label"], 5)
    torch.testing.assert_close(
        boundary_consistency_loss(logits, fives), numbers["lcr_single_class5_l1"], rtol=1e-5, atol=0
    )
    assert not label_boundary(fives)[:, 1:-1, 1:-1].any()


@pytest.mark.parametrize("threshold", [0.05, 0.2])
def test_negative_learning_is_the_authors(numbers, threshold: float) -> None:
    logits = numbers["logits_nl"].clone().requires_grad_()
    loss = negative_learning_loss(logits.softmax(dim=1), threshold)
    loss.backward()
    torch.testing.assert_close(loss.detach(), numbers[f"nl_{threshold}"], rtol=1e-5, atol=0)
    if threshold == 0.05:
        torch.testing.assert_close(logits.grad[..., ::4, ::4], numbers["nl_grad_0.05"], rtol=1e-5, atol=1e-12)


def test_negative_learning_of_uniform_probabilities(numbers) -> None:
    uniform = torch.full((1, 19, 4, 4), 1 / 19)
    torch.testing.assert_close(
        negative_learning_loss(uniform, 0.06), numbers["nl_uniform_all_masked_0.06"], rtol=1e-5, atol=0
    )
    assert negative_learning_loss(uniform, 0.05) == 0


@given(label=st.sampled_from([0, 255, 5]), scale=st.sampled_from([0.0, 1.0, 1e4]), seed=st.integers(0, 99))
def test_losses_and_gradients_are_finite_whatever_counts(label: int, scale: float, seed: int) -> None:
    logits = (scale * torch.randn(1, 19, 4, 5, generator=torch.Generator().manual_seed(seed))).requires_grad_()
    labels = torch.full((1, 4, 5), label)
    losses = (
        boundary_consistency_loss(logits, labels),
        boundary_consistency_loss(logits, labels, distance="kl"),
        negative_learning_loss(logits.softmax(dim=1)),
        negative_learning_loss(logits.softmax(dim=1), threshold=0),
    )
    assert all(loss.isfinite() for loss in losses)
    assert losses[3] == 0
    if label != 5:
        assert losses[0] == losses[1] == 0
    sum(losses).backward()
    assert logits.grad.isfinite().all()
