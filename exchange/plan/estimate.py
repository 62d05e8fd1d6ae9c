"""From a domain's presence rows to a log prior ratio that is safe to serve.

Presence is that of "Undoing the Damage of Label Shift for Cross-domain Semantic Segmentation" (CVPR 2022), eq. 17: a
class is in a frame where its score exceeds the class's share of source pixels. What the paper does once over a data
set is done here over recent frames of driving vehicles, which are alike within a drive; so everything is weighted by
age, and drives stand or fall together.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from exchange.fleet.presence import PresenceRows
from exchange.plan.priors import PRIOR_FRAMES, LiveEstimate
from exchange.plan.resampling import Blocks, bootstrap_weights, group_frames
from exchange.registry.releases import Manifest

Array = NDArray[np.float64]

HALF_LIFE_S = 1800.0
"""A frame of this age counts half."""
WINDOW_S = 6 * HALF_LIFE_S
FEWEST_FRAMES = 32
"""With fewer rows there is no estimate."""
CLIP = 1.0
"""No class's odds are changed by more than a factor of e."""
_Z = 1.645
_TAILS = (0.05, 0.95)
_RESAMPLES = 200
_TRUE_WITHIN_A_FACTOR = 2.0
"""A network's mean probability of a class is taken for its share of the pixels within this factor."""


@dataclass(frozen=True)
class SourceView:
    """What the ratio is taken against; each [K]."""

    thresholds_K: Array
    distribution_K: Array
    """Image-level class distribution, by labels; sums to 1."""

    @classmethod
    def of(cls, manifest: Manifest) -> "SourceView":
        """What the release's outputs follow.

        Against the shares that the same model sees on its source, windows lose more (benchmarks.live_prior).
        """
        return cls(np.array(manifest.source_pixel_frequency), np.array(manifest.output_prior))


def estimate(rows: PresenceRows, source: SourceView, seed: int = 0) -> LiveEstimate | None:
    """What the rows of one version say, in order of capture; None where they are too few to say anything."""
    if len(rows) < FEWEST_FRAMES:
        return None
    weights_N = 0.5 ** ((rows.captured_s_N[-1] - rows.captured_s_N) / HALF_LIFE_S)
    blocks = group_frames(rows.drive_N.tolist())
    sample = _Sample(weights_N, blocks, seed)
    seen_NK = rows.presence_NK > source.thresholds_K
    share_K, low_K, high_K = sample.share(seen_NK)
    probability_NK = rows.mean_probability_NK.astype(np.float64)
    _, surely_K, _ = sample.share(probability_NK > source.thresholds_K * _TRUE_WITHIN_A_FACTOR)
    _, _, possibly_K = sample.share(probability_NK > source.thresholds_K / _TRUE_WITHIN_A_FACTOR)
    effective = sample.effective_frames(seen_NK)
    return LiveEstimate(
        estimated_at=datetime.now(UTC),
        frames=len(rows),
        effective_frames=effective,
        resampled=blocks.kind,
        share=_tuple(share_K),
        low=_tuple(np.minimum(low_K, surely_K)),
        high=_tuple(np.maximum(high_K, possibly_K)),
        log_ratio=_tuple(_log_ratio(share_K, low_K, high_K, effective, source)),
    )


class _Sample:
    """Weighted frames in blocks that are drawn together."""

    def __init__(self, weights_N: Array, blocks: Blocks, seed: int) -> None:
        self._weights_N = weights_N
        self._block_of_frame_N = blocks.block_of_frame_N
        self._blocks = blocks.count
        self._resampled_RN = bootstrap_weights(blocks, _RESAMPLES, np.random.default_rng(seed)) * weights_N

    def share(self, seen_NK: NDArray[np.bool_]) -> tuple[Array, Array, Array]:
        """The weighted share of frames, and its 90 % interval: the wider of bootstrap and Wilson on either side.

        The bootstrap alone is certain of a class that no frame, or every frame, holds, and that a few drives happen to
        agree about; so no class counts as known better than all of them together.
        """
        share_K = self._weights_N @ seen_NK / self._weights_N.sum()
        shares_RK = self._resampled_RN @ seen_NK / self._resampled_RN.sum(axis=1, keepdims=True)
        low_K, high_K = np.quantile(shares_RK, _TAILS, axis=0)
        effective_K = np.minimum(self._effective_frames_of_each(seen_NK, share_K), self.effective_frames(seen_NK))
        wilson_low_K, wilson_high_K = _wilson(share_K, effective_K)
        return share_K, np.minimum(low_K, wilson_low_K), np.maximum(high_K, wilson_high_K)

    def effective_frames(self, seen_NK: NDArray[np.bool_]) -> float:
        """Of how many independent frames the shares are worth, variances added over the classes."""
        share_K = self._weights_N @ seen_NK / self._weights_N.sum()
        clustered = float(self._clustered_variance(seen_NK, share_K).sum())
        independent = float((share_K * (1 - share_K)).sum())
        return float(self._bounded(independent / clustered if clustered > 0 else self._independent_blocks))

    def _effective_frames_of_each(self, seen_NK: NDArray[np.bool_], share_K: Array) -> Array:
        """As `effective_frames`, for each class by itself, [K]."""
        clustered_K = self._clustered_variance(seen_NK, share_K)
        known_K = clustered_K > 0
        ratio_K = share_K * (1 - share_K) / np.where(known_K, clustered_K, 1)
        return self._bounded(np.where(known_K, ratio_K, self._independent_blocks))

    def _clustered_variance(self, seen_NK: NDArray[np.bool_], share_K: Array) -> Array:
        """Of each share, when blocks are the independent draws, [K]."""
        sums_BK = np.zeros((self._blocks, len(share_K)))
        np.add.at(sums_BK, self._block_of_frame_N, self._weights_N[:, None] * (seen_NK - share_K))
        correction = self._blocks / max(self._blocks - 1, 1)
        return np.asarray(correction * (sums_BK**2).sum(axis=0) / self._weights_N.sum() ** 2)

    @property
    def _independent_blocks(self) -> float:
        return _kish(np.bincount(self._block_of_frame_N, weights=self._weights_N).astype(np.float64))

    def _bounded(self, effective: Array | float) -> Array:
        return np.clip(effective, 1.0, _kish(self._weights_N))


def _kish(weights: Array) -> float:
    """Of how many equal weights these are worth."""
    return float(weights.sum() ** 2 / (weights**2).sum())


def _wilson(share_K: Array, frames_K: Array) -> tuple[Array, Array]:
    """Wilson's score interval."""
    center_K = (share_K + _Z**2 / (2 * frames_K)) / (1 + _Z**2 / frames_K)
    half_K = _Z / (1 + _Z**2 / frames_K) * np.sqrt(share_K * (1 - share_K) / frames_K + (_Z / (2 * frames_K)) ** 2)
    return np.clip(center_K - half_K, 0, 1), np.clip(center_K + half_K, 0, 1)


def _log_ratio(share_K: Array, low_K: Array, high_K: Array, effective: float, source: SourceView) -> Array:
    """log target - log source, no farther than the interval is sure of, believed by the number of frames, clipped.

    A class without any source pixel has no threshold, and the network has never learnt it: it is left alone, and so is
    every class whose source share lies inside the interval.
    """
    known_K = source.thresholds_K > 0
    smoothed_K = (effective * share_K + 0.5) / (effective + 1)
    seen_K = np.where(known_K, smoothed_K, 0) / smoothed_K[known_K].sum()
    scale = seen_K[known_K].sum() / smoothed_K[known_K].sum()
    source_K = np.where(known_K, np.maximum(source.distribution_K, 1e-6), 1)
    lowest_K, highest_K = (
        np.log(np.maximum(bound_K, 0.5 / (effective + 1)) * scale / source_K) for bound_K in (low_K, high_K)
    )
    sure_K = np.maximum(lowest_K, 0) + np.minimum(highest_K, 0)
    believed = effective / (effective + PRIOR_FRAMES)
    return np.where(known_K, np.clip(believed * sure_K, -CLIP, CLIP), 0)


def _tuple(values_K: Array) -> tuple[float, ...]:
    return tuple(np.asarray(values_K, dtype=np.float64).tolist())
