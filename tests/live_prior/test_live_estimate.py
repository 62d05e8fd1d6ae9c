"""What presence rows say about a domain's classes, and how little it takes to say nothing."""

import numpy as np
import pytest

from exchange.fleet.presence import PresenceRow, PresenceRows
from exchange.plan.estimate import CLIP, FEWEST_FRAMES, HALF_LIFE_S, SourceView, estimate
from exchange.plan.priors import LiveEstimate

THRESHOLDS = np.full(19, 0.05)
THRESHOLDS[16] = 0.0  # no source pixel: the class was never learnt
SOURCE_RATES = np.linspace(0.1, 0.9, 19)
SOURCE_RATES[16] = 0.0
SOURCE = SourceView(THRESHOLDS, SOURCE_RATES / SOURCE_RATES.sum())


def fleet(rates_K: np.ndarray, frames: int, drives: int, seed: int, start_s: float = 0.0) -> list[PresenceRow]:
    """Frames a second apart in which each class is present with its rate; a drive's frames are alike by half."""
    random = np.random.default_rng(seed)
    own_DK = random.random((drives, 19)) < rates_K
    rows = []
    for index in range(frames):
        shown_K = np.where(random.random(19) < 0.5, own_DK[index % drives], random.random(19) < rates_K)
        share_K = np.where(shown_K, 0.2, 0.001).astype(np.float32)
        rows.append(PresenceRow(start_s + index, f"{seed}-{index % drives}", 1, share_K, share_K, 0.9))
    return rows


def made(rows: list[PresenceRow]) -> LiveEstimate:
    found = estimate(PresenceRows.of(rows), SOURCE)
    assert found is not None
    return found


def test_too_few_frames_say_nothing() -> None:
    assert estimate(PresenceRows.of(fleet(SOURCE_RATES, FEWEST_FRAMES - 1, 5, 0)), SOURCE) is None
    assert estimate(PresenceRows.of([]), SOURCE) is None


def test_intervals_hold_the_true_shares() -> None:
    """Of (class, seed) pairs, the 90 % intervals hold at least 85 %, and do not hold everything by being wide."""
    rates = np.delete(SOURCE_RATES, 16)
    held, widths = [], []
    for seed in range(10):
        found = made(fleet(SOURCE_RATES, 300, 30, seed))
        low, high = np.delete(found.low, 16), np.delete(found.high, 16)
        held.append((low <= rates) & (rates <= high))
        widths.append(high - low)
    assert np.mean(held) >= 0.85
    assert np.mean(widths) < 0.3


def test_a_domain_like_the_source_is_left_alone() -> None:
    for seed in range(5):
        found = made(fleet(SOURCE_RATES, 400, 40, seed))
        assert np.abs(found.log_ratio).max() < 0.1


def test_a_shifted_domain_moves_the_classes_that_shifted() -> None:
    shifted = SOURCE_RATES.copy()
    shifted[2], shifted[18] = 0.9, 0.1
    found = made(fleet(shifted, 2000, 200, 0))
    assert found.log_ratio[2] > 0.5
    assert found.log_ratio[18] < -0.5
    assert np.abs(np.delete(found.log_ratio, [2, 18])).max() < 0.2
    assert np.abs(found.log_ratio).max() <= CLIP


def test_few_drives_move_it_less_than_many() -> None:
    shifted = SOURCE_RATES.copy()
    shifted[2] = 0.9
    few, many = made(fleet(shifted, 600, 6, 1)), made(fleet(shifted, 600, 600, 1))
    assert few.effective_frames < 60 < many.effective_frames
    assert 0 <= few.log_ratio[2] < many.log_ratio[2]
    assert few.high[2] - few.low[2] > many.high[2] - many.low[2]


def test_a_class_without_source_pixels_is_left_alone() -> None:
    """Its threshold is 0, so that every frame seems to hold it."""
    found = made(fleet(SOURCE_RATES, 500, 50, 0))
    assert found.share[16] == pytest.approx(1.0)
    assert found.log_ratio[16] == 0.0


def test_old_frames_fade() -> None:
    shifted = SOURCE_RATES[::-1].copy()
    old, new = fleet(SOURCE_RATES, 500, 50, 0), fleet(shifted, 500, 50, 1, start_s=4 * HALF_LIFE_S)
    found = made(old + new)
    fresh = made(new)
    assert np.abs(np.subtract(found.share, fresh.share)).max() < 0.1
    assert found.effective_frames < 1.3 * fresh.effective_frames


@pytest.mark.parametrize("shown", [0.0, 1.0])
def test_certainty_needs_frames(shown: float) -> None:
    """A class that all frames agree about still has an interval."""
    found = made(fleet(np.full(19, shown), 100, 10, 0))
    assert found.high[0] - found.low[0] > 0.05
    assert np.isfinite(found.log_ratio).all()
