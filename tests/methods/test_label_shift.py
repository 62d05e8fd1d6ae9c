"""Presence, adjustment and rectification against the authors' reference numbers, and their guards."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from adaptation.learning.methods.label_shift import (
    adjust,
    class_distribution,
    image_level_counts,
    presence_scores,
    present,
    prior_log_ratio,
    rectified_cross_entropy,
)

INFINITE = math.inf
shares = st.lists(st.floats(0, 1), min_size=4, max_size=4)


def enlarged(logits: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=True)


@pytest.mark.parametrize("source", ["gta", "syn"])
def test_presence_scores_are_the_authors(reference, source: str) -> None:
    numbers = reference("label_shift")
    logits = enlarged(numbers[f"{source}_logits"], (512, 1024))
    expected = numbers[f"{source}_p"][: len(logits)]
    # The authors' float32 log(mean(exp)) is itself off by a rounding of 1.
    torch.testing.assert_close(presence_scores(logits.softmax(dim=1)), expected, rtol=1e-5, atol=2e-7)


@pytest.mark.parametrize("source", ["gta", "syn"])
def test_presence_counts_are_the_authors(reference, source: str) -> None:
    numbers = reference("label_shift")
    counts = present(numbers[f"{source}_p"], numbers[f"{source}_thr"]).sum(dim=0)
    assert counts.tolist() == numbers[f"{source}_counts"].tolist()


def test_class_distributions_are_the_authors(reference) -> None:
    numbers = reference("label_shift")
    torch.testing.assert_close(class_distribution(numbers["gta_counts"], 0), numbers["gta_Pt"])
    for counts, expected in (
        ("gta5_src_counts", "gta5_Ps"),
        ("gta5_tgt_counts_dlv2", "gta5_Pt_dlv2"),
        ("syn_src_counts", "syn_Ps"),
        ("syn_tgt_counts_dlv2", "syn_Pt_dlv2"),
    ):
        torch.testing.assert_close(class_distribution(numbers[counts], 0), numbers[expected])


def test_inference_adjustment_is_the_authors(reference) -> None:
    numbers = reference("label_shift")
    logits = enlarged(numbers["ia_logits"], (64, 128))
    log_ratio = prior_log_ratio(numbers["gta5_Pt_dlv2"], numbers["gta5_Ps"], INFINITE, clip=INFINITE)
    adjusted = adjust(logits, log_ratio).softmax(dim=1)
    torch.testing.assert_close(adjusted[..., ::4, ::4], numbers["ia_prob"], rtol=1e-5, atol=1e-9)
    assert torch.equal(adjusted.argmax(dim=1).byte(), numbers["ia_argmax"])
    assert torch.equal(adjust(logits, torch.zeros(19)).argmax(dim=1).byte(), numbers["plain_argmax"])


def test_rectified_cross_entropy_is_the_authors(reference) -> None:
    numbers = reference("label_shift")
    logits = numbers["cr_logits"].clone().requires_grad_()
    loss = rectified_cross_entropy(logits, numbers["cr_label"], numbers["cr_log_Ps"], numbers["cr_log_Pt"])
    loss.backward()
    torch.testing.assert_close(loss.detach(), numbers["cr_loss"], rtol=1e-5, atol=0)
    torch.testing.assert_close(logits.grad[..., ::4, ::4], numbers["cr_grad"], rtol=1e-5, atol=1e-9)
    rectified = adjust(logits.detach(), numbers["cr_log_Ps"] - numbers["cr_log_Pt"]).softmax(dim=1)
    torch.testing.assert_close(rectified[..., ::4, ::4], numbers["cr_prob"], rtol=1e-5, atol=1e-9)


def test_a_batch_without_labels_has_no_rectified_loss(reference) -> None:
    numbers = reference("label_shift")
    unlabelled = torch.full_like(numbers["cr_label"], 255)
    loss = rectified_cross_entropy(numbers["cr_logits"], unlabelled, numbers["cr_log_Ps"], numbers["cr_log_Pt"])
    assert loss == numbers["cr_loss_all_ignored"] == 0


def test_an_absent_class_leaves_the_rectified_loss_finite() -> None:
    absent = torch.tensor([0.0, -INFINITE])
    logits = torch.randn(1, 2, 4, 4, requires_grad=True)
    for log_source, log_target in ((absent, -absent.exp()), (-absent.exp(), absent), (absent, absent)):
        loss = rectified_cross_entropy(logits, torch.ones(1, 4, 4), log_source, log_target)
        assert torch.isfinite(loss)
        assert torch.isfinite(torch.autograd.grad(loss, logits)[0]).all()


def test_image_level_counts_ask_for_enough_pixels() -> None:
    labels = torch.tensor([[[0, 0, 1, 255]], [[0, 1, 1, 7]]])
    assert image_level_counts(labels, 3, min_pixels=1).tolist() == [2, 2, 0]
    assert image_level_counts(labels, 3, min_pixels=2).tolist() == [1, 1, 0]
    assert image_level_counts(labels.byte(), 3, min_pixels=2).tolist() == [1, 1, 0]
    with pytest.raises(ValueError, match="at least 1"):
        image_level_counts(labels, 3, min_pixels=0)


def test_few_frames_move_the_outputs_little() -> None:
    target, source = torch.tensor([0.6, 0.4]), torch.tensor([0.4, 0.6])
    plain = prior_log_ratio(target, source, INFINITE)
    assert prior_log_ratio(target, source, 0).tolist() == [0, 0]
    torch.testing.assert_close(prior_log_ratio(target, source, 256), plain / 2)
    assert prior_log_ratio([0.999, 0.001], [0.001, 0.999], INFINITE, clip=2).tolist() == [2, -2]


def test_what_is_no_distribution_is_refused() -> None:
    with pytest.raises(ValueError, match="negative or NaN"):
        prior_log_ratio([0.5, math.nan], [0.5, 0.5], 10)
    with pytest.raises(ValueError, match="negative or NaN"):
        prior_log_ratio([1.5, -0.5], [0.5, 0.5], 10)
    with pytest.raises(ValueError, match="number of independent frames"):
        prior_log_ratio([0.5, 0.5], [0.5, 0.5], math.nan)


@given(target=shares, source=shares, frames=st.floats(0, 1e9))
def test_the_log_ratio_is_always_finite(target: list[float], source: list[float], frames: float) -> None:
    ratio = prior_log_ratio(target, source, frames, clip=INFINITE)
    assert torch.isfinite(ratio).all()
    assert torch.isfinite(adjust(torch.zeros(1, 4, 2, 2), ratio).softmax(dim=1)).all()


@given(counts=st.lists(st.integers(0, 10**9), min_size=1, max_size=19), smoothing=st.sampled_from([0, 0.5]))
def test_a_class_distribution_always_sums_to_one(counts: list[int], smoothing: float) -> None:
    distribution = class_distribution(counts, smoothing)
    torch.testing.assert_close(distribution.sum(), torch.ones((), dtype=torch.float64))
    assert (distribution >= 0).all()
