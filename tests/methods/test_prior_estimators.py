"""Estimators of the target's class distribution: what they find, how sure they are, and when they hold back."""

import numpy as np
import pytest
import torch
from torch import Tensor

from adaptation.learning.methods.label_shift import (
    FrameEvidence,
    PosteriorMaximization,
    ThresholdedPresence,
    calibrate,
    class_distribution,
    estimate_prior,
    maximize_posteriors,
)
from exchange.plan.resampling import bootstrap_weights, effective_frames, group_frames

THRESHOLDS = torch.full((3,), 0.1)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def frames_showing(rates: list[float], drives: list[str], seed: int = 0) -> FrameEvidence:
    """Frames in which each class is present with its rate, whole drives alike."""
    names = sorted(set(drives))
    shown = torch.rand(len(names), len(rates), generator=seeded(seed)) < torch.tensor(rates)
    scores = shown[[names.index(drive) for drive in drives]] * 0.5
    return FrameEvidence(scores, scores.unsqueeze(1), drives)


def posteriors_of(shares: Tensor, source: Tensor, samples: int, spread: float = 1.0) -> Tensor:
    """Exact posteriors, under the source's shares, of samples drawn by the target's; classes overlap."""
    generator = seeded(1)
    classes = torch.multinomial(shares, samples, replacement=True, generator=generator)
    places = classes + spread * torch.randn(samples, generator=generator, dtype=torch.float64)
    likelihood = torch.exp(-((places[:, None] - torch.arange(len(shares))) ** 2) / (2 * spread**2))
    weighted = likelihood * source
    return weighted / weighted.sum(dim=1, keepdim=True)


def test_drives_are_the_blocks_where_there_are_five() -> None:
    blocks = group_frames([f"drive {i // 3}" for i in range(15)])
    assert (blocks.kind, blocks.count) == ("drives", 5)
    assert blocks.block_of_frame_N.tolist() == [i // 3 for i in range(15)]


def test_few_drives_are_cut_into_runs_that_cross_no_border() -> None:
    blocks = group_frames(["a"] * 30 + ["b"] * 20)
    assert (blocks.kind, blocks.count) == ("runs of 20 frames", 3)
    assert np.bincount(blocks.block_of_frame_N).tolist() == [20, 10, 20]


def test_a_resample_draws_whole_blocks() -> None:
    blocks = group_frames([f"drive {i // 4}" for i in range(24)])
    weights = bootstrap_weights(blocks, 50, rng())
    by_drive = weights.reshape(50, 6, 4)
    assert (by_drive == by_drive[..., :1]).all()
    assert (weights.sum(axis=1) == 24).all()


def test_alike_frames_are_worth_one_each_drive() -> None:
    random, blocks = rng(), group_frames([i // 10 for i in range(200)])
    alike = random.random((20, 3))[blocks.block_of_frame_N]
    assert effective_frames(alike, blocks) == pytest.approx(20)
    independent = random.random((200, 3))
    assert effective_frames(independent, blocks) > 100
    assert effective_frames(np.ones((200, 3)), blocks) == 20
    assert effective_frames(independent[:10], group_frames(["only"] * 10)) == 1


def test_the_authors_estimator_counts_present_classes() -> None:
    evidence = frames_showing([1.0, 0.5, 0.0], [f"drive {i}" for i in range(40)])
    source = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64)
    estimate = estimate_prior(ThresholdedPresence(source, THRESHOLDS), evidence, rng())
    counts = (evidence.presence_scores_NC > 0.1).sum(dim=0)
    torch.testing.assert_close(estimate.target_C, class_distribution(counts))
    torch.testing.assert_close(estimate.source_C, source)
    assert (estimate.low_C <= estimate.target_C).all()
    assert (estimate.target_C <= estimate.high_C).all()
    assert (estimate.log_ratio().abs() <= 2).all()


def test_the_same_estimator_on_both_domains_has_no_bias_of_its_own() -> None:
    evidence = frames_showing([0.9, 0.5, 0.2], [f"drive {i}" for i in range(400)])
    true_shares = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    same = estimate_prior(ThresholdedPresence.measured_on(evidence, THRESHOLDS), evidence, rng())
    authors = estimate_prior(ThresholdedPresence(true_shares, THRESHOLDS), evidence, rng())
    assert same.log_ratio().tolist() == [0, 0, 0]
    assert authors.log_ratio().abs().max() > 0.2


def test_the_interval_widens_when_drives_are_alike_inside() -> None:
    estimator = ThresholdedPresence(torch.full((3,), 1 / 3, dtype=torch.float64), THRESHOLDS)
    many = estimate_prior(
        estimator, frames_showing([0.5] * 3, [f"{i:03}" for i in range(200)]), np.random.default_rng(0)
    )
    few = estimate_prior(
        estimator, frames_showing([0.5] * 3, [f"{i // 20:03}" for i in range(200)]), np.random.default_rng(0)
    )
    assert (few.high_C - few.low_C).mean() > 2 * (many.high_C - many.low_C).mean()
    assert few.effective_frames < 20 < many.effective_frames
    assert few.resampled == "drives"


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    rates = torch.tensor([0.9, 0.5, 0.1], dtype=torch.float64)
    truth = rates / rates.sum()
    estimator = ThresholdedPresence(truth, THRESHOLDS)
    drives = [f"{i // 5:03}" for i in range(300)]
    held = 0
    for seed in range(60):
        estimate = estimate_prior(estimator, frames_showing(rates.tolist(), drives, seed), rng(seed))
        held += int(((estimate.low_C <= truth) & (truth <= estimate.high_C)).sum())
    assert 0.8 <= held / 180 <= 0.97


def test_em_finds_the_shares_behind_calibrated_posteriors() -> None:
    source = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
    target = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    posteriors = posteriors_of(target, source, 20_000)
    evidence = FrameEvidence(torch.zeros(200, 3), posteriors.view(200, 100, 3), [f"{i:03}" for i in range(200)])
    estimate = estimate_prior(PosteriorMaximization(source), evidence, rng(), resamples=40)
    torch.testing.assert_close(estimate.target_C, target, rtol=0, atol=0.02)
    assert (estimate.low_C < target).all()
    assert (target < estimate.high_C).all()
    # Plain averaging of the posteriors stays biased towards the source.
    assert (posteriors.mean(dim=0) - target).abs().max() > 0.05


def test_em_stays_a_distribution_whatever_it_gets() -> None:
    source = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    for posteriors in (torch.zeros(5, 3), torch.eye(3), torch.full((5, 3), 1 / 3)):
        weights = torch.stack([torch.ones(len(posteriors)), torch.zeros(len(posteriors))]).double()
        found = maximize_posteriors(posteriors, source, weights, iterations=100)
        assert torch.isfinite(found).all()
        torch.testing.assert_close(found.sum(dim=1), torch.ones(2, dtype=torch.float64))


def test_calibration_flattens_and_sharpens() -> None:
    probabilities = torch.tensor([[0.7, 0.2, 0.1], [1.0, 0.0, 0.0]])
    torch.testing.assert_close(calibrate(probabilities, 1.0)[0], probabilities[0])
    assert calibrate(probabilities, 2.0)[0, 0] < 0.7 < calibrate(probabilities, 0.5)[0, 0]
    assert torch.isfinite(calibrate(probabilities, 1e-3)).all()


def test_no_frames_are_refused() -> None:
    evidence = FrameEvidence(torch.zeros(0, 3), torch.zeros(0, 1, 3), [])
    with pytest.raises(ValueError, match="no frames"):
        estimate_prior(ThresholdedPresence(torch.ones(3) / 3, THRESHOLDS), evidence, rng())
