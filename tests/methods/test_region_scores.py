"""RIPU's region scores against the authors' reference numbers, and the order of one-class regions."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from adaptation.learning.methods.ripu import point_scores, region_scores
from adaptation.learning.methods.ripu.scores import LOG_SCALE


@pytest.mark.parametrize(
    ("logits", "suffix", "radius"),
    [
        ("logits19", "_k1", 1),
        ("logits19", "_k2", 2),
        ("logits19", "_k4", 4),
        ("logits19", "_k9", 9),
        ("logits19", "_k16", 16),
        ("logits16", "16_k1", 1),
    ],
)
def test_scores_are_the_authors(reference, logits: str, suffix: str, radius: int) -> None:
    numbers = reference("region_scores")
    names = [name + suffix for name in ("score", "impurity", "uncertainty")]
    scores = region_scores(numbers[logits], radius, break_ties=False)
    for map_HW, name in zip(scores, names, strict=True):
        torch.testing.assert_close(map_HW[::2, ::2], numbers[name], rtol=1e-5, atol=1e-7)
    for map_HW, name in zip(region_scores(numbers[logits], radius), names, strict=True):
        torch.testing.assert_close(map_HW[::2, ::2], numbers[name].clamp(min=0), rtol=1e-5, atol=1e-7)


def test_point_scores_are_the_authors(reference) -> None:
    numbers = reference("region_scores")
    scores = point_scores(numbers["logits19"], radius=32, break_ties=False)
    expected = numbers["entropy_pa"] * numbers["purity_pa_k32"]
    torch.testing.assert_close(scores[::2, ::2], expected, rtol=1e-5, atol=1e-6)


def test_one_class_regions_rank_upside_down_in_the_authors_scores_only(reference) -> None:
    numbers = reference("region_scores")
    theirs = region_scores(numbers["one_class_logits"], 1, break_ties=False)
    for map_HW, name in zip(theirs, ("score", "impurity", "uncertainty"), strict=True):
        torch.testing.assert_close(map_HW, numbers[f"one_class_{name}"], rtol=1e-5, atol=1e-12)
    assert (theirs.acquisition_HW < 0).all()
    assert theirs.acquisition_HW.argmax() == theirs.uncertainty_HW.argmin()
    ours = region_scores(numbers["one_class_logits"], 1)
    assert (ours.impurity_HW == 0).all()
    assert torch.equal(ours.acquisition_HW.flatten().argsort(), ours.uncertainty_HW.flatten().argsort())


def test_any_mixed_region_ranks_above_every_one_class_region() -> None:
    logits = torch.zeros(3, 20, 20)
    logits[0, :, :10], logits[1, :, 10:] = 9.0, 9.0
    logits[0, :5, :5] = 1.0
    scores = region_scores(logits, radius=1)
    mixed = scores.impurity_HW > 0
    assert scores.acquisition_HW[mixed].min() > scores.acquisition_HW[~mixed].max()
    assert scores.acquisition_HW[~mixed].argmax() == scores.uncertainty_HW[~mixed].argmax()


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (4, 4)])
def test_logits_of_other_than_one_image_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="one image"):
        region_scores(torch.zeros(shape), 1)


@given(scale=st.sampled_from([0.0, 1.0, 1e4]), radius=st.integers(0, 40), seed=st.integers(0, 99))
def test_scores_are_finite_and_within_bounds(scale: float, radius: int, seed: int) -> None:
    logits = scale * torch.randn(5, 7, 9, generator=torch.Generator().manual_seed(seed))
    scores = region_scores(logits, radius)
    for map_HW in (*scores, point_scores(logits, radius)):
        assert map_HW.isfinite().all()
        assert (map_HW >= 0).all()
    assert scores.impurity_HW.max() <= torch.tensor(5.0).log() / LOG_SCALE + 1e-6
