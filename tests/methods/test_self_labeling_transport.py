"""Sinkhorn against the authors' reference numbers, and at inputs where theirs turns into NaN."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from adaptation.learning.methods.cpsl import self_labeling_loss, self_labels, sinkhorn

anything = hnp.arrays("float32", (5, 3), elements=st.floats(width=32, allow_nan=True, allow_infinity=True))


@pytest.mark.parametrize(
    ("scores", "marginal", "iterations", "expected"),
    [
        ("out", "class_distribution", 3, "Q_it3"),
        ("out", "class_distribution", 50, "Q_it50"),
        ("out", None, 3, "Q_uniform_r"),
        ("noisy_out", "class_distribution", 3, "noisy_Q_it3"),
        ("noisy_out", "class_distribution", 50, "noisy_Q_it50"),
    ],
)
def test_assignments_are_the_authors(
    reference, scores: str, marginal: str | None, iterations: int, expected: str
) -> None:
    numbers = reference("self_labeling_transport")
    shares = torch.full((19,), 1 / 19) if marginal is None else numbers[marginal]
    assigned = sinkhorn(numbers[scores], shares, epsilon=0.05, iterations=iterations)
    torch.testing.assert_close(assigned, numbers[expected], rtol=1e-5, atol=1e-7)


def test_loss_is_the_authors(reference) -> None:
    numbers = reference("self_labeling_transport")
    labels = self_labels(numbers["out"], None, numbers["class_distribution"])
    loss = self_labeling_loss(numbers["out"], labels)
    torch.testing.assert_close(loss, numbers["loss_SL_of_it3"], rtol=1e-5, atol=0)
    assert self_labeling_loss(numbers["out"][:0], labels[:0]) == 0


def test_a_class_share_of_zero_and_raw_logits_stay_finite(reference) -> None:
    numbers = reference("self_labeling_transport")
    without_16 = numbers["class_distribution"].clone()
    without_16[16] = 0
    absent = sinkhorn(numbers["out"], without_16)
    assert torch.isfinite(absent).all()
    assert absent[:, 16].sum() < 1e-3
    assert torch.isfinite(sinkhorn(numbers["logits_raw"], numbers["class_distribution"])).all()


def test_more_iterations_bring_the_marginal(reference) -> None:
    numbers = reference("self_labeling_transport")
    marginal = numbers["class_distribution"]
    errors = [
        (sinkhorn(numbers["noisy_out"].double(), marginal, iterations=i).mean(dim=0) - marginal).abs().max().item()
        for i in (3, 50)
    ]
    assert errors[0] == pytest.approx(0.014, abs=0.001)
    assert errors[1] < 1e-8


def test_self_labels_are_balanced_together_with_the_queue() -> None:
    queue, batch = torch.eye(2).repeat_interleave(50, dim=0), torch.tensor([[0.6, 0.5]])
    assert self_labels(batch, None, torch.tensor([0.5, 0.5])).tolist() == [[0.5, 0.5]]
    assert self_labels(batch, queue, torch.tensor([0.5, 0.5]))[0, 0] > 0.8


@given(scores=anything, marginal=st.lists(st.floats(0, 1), min_size=3, max_size=3), iterations=st.integers(0, 5))
def test_rows_always_sum_to_one(scores, marginal: list[float], iterations: int) -> None:
    assigned = sinkhorn(torch.from_numpy(scores), marginal, iterations=iterations)
    torch.testing.assert_close(assigned.sum(dim=1), torch.ones(5))


def test_scores_of_any_size_are_assigned() -> None:
    scores = torch.tensor([[math.inf, 0.0, -math.inf], [math.nan, 3e38, 0.0]])
    assert torch.isfinite(sinkhorn(scores, [0.0, 0.0, 0.0])).all()
