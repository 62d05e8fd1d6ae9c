"""Estimates of the target's class distribution from unlabelled frames, each with an interval.

Every estimator measures frames in one way and knows what that way gives on the source; only the ratio of the two is
used. Three are at hand:

* the authors': `ThresholdedPresence(source_distribution=P_s from labels, ...)`. Source and target are measured in
  different ways, so part of its ratio is the estimator's own bias;
* the same estimator on both domains: `ThresholdedPresence.measured_on(source frames, ...)`;
* EM on calibrated probabilities: `PosteriorMaximization(source pixel shares)`.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from adaptation.learning.methods.label_shift.adjustment import LOWEST_SHARE, prior_log_ratio
from adaptation.learning.methods.label_shift.presence import class_distribution, present
from exchange.plan.resampling import bootstrap_weights, effective_frames, group_frames

_SETTLED = 1e-6


@dataclass(frozen=True)
class FrameEvidence:
    """What a network says about N frames, in order of capture within each drive; tensors on the CPU.

    `presence_scores_NC`: `presence_scores` of each frame. `probabilities_NSC`: calibrated class probabilities of S
    pixels of each frame; S = 1 with the frame's mean where single pixels were not kept. `drives`: N drive ids.
    """

    presence_scores_NC: Tensor
    probabilities_NSC: Tensor
    drives: Sequence[Hashable]


class Estimator(Protocol):
    """One way of measuring the class distribution of frames."""

    @property
    def source_distribution(self) -> Tensor:
        """What the measured target is compared with, float64 [C]."""

    def per_frame(self, evidence: FrameEvidence) -> Tensor:
        """What each frame adds to the estimate, float64 [N, C]; shows how alike successive frames are."""

    def target_distributions(self, evidence: FrameEvidence, frame_weights_RN: Tensor) -> Tensor:
        """float64 [R, C]: the distribution over the frames, counted with each of R weightings."""


@dataclass(frozen=True)
class ThresholdedPresence:
    """Share of each class among (frame, present class) pairs, where a class is present when its score exceeds the
    class's share of source pixels."""

    source_distribution: Tensor
    pixel_thresholds_C: Tensor
    smoothing: float = 0.5

    @classmethod
    def measured_on(cls, source: FrameEvidence, pixel_thresholds_C: Tensor) -> "ThresholdedPresence":
        """The same estimator on both domains: P_s is what this network and these thresholds find on source frames."""
        counts_C = present(source.presence_scores_NC, pixel_thresholds_C).sum(dim=0)
        return cls(class_distribution(counts_C), pixel_thresholds_C)

    def per_frame(self, evidence: FrameEvidence) -> Tensor:
        return present(evidence.presence_scores_NC, self.pixel_thresholds_C).double()

    def target_distributions(self, evidence: FrameEvidence, frame_weights_RN: Tensor) -> Tensor:
        return class_distribution(frame_weights_RN @ self.per_frame(evidence), self.smoothing)


@dataclass(frozen=True)
class PosteriorMaximization:
    """The pixel shares under which the probabilities are most likely (`maximize_posteriors`)."""

    source_distribution: Tensor
    iterations: int = 100

    def per_frame(self, evidence: FrameEvidence) -> Tensor:
        return evidence.probabilities_NSC.double().mean(dim=1)

    def target_distributions(self, evidence: FrameEvidence, frame_weights_RN: Tensor) -> Tensor:
        samples = evidence.probabilities_NSC.shape[1]
        return maximize_posteriors(
            evidence.probabilities_NSC.flatten(0, 1),
            self.source_distribution,
            frame_weights_RN.repeat_interleave(samples, dim=1),
            self.iterations,
        )


@dataclass(frozen=True)
class PriorEstimate:
    """A target distribution with the interval of its entries, and the source's as the same estimator sees it."""

    source_C: Tensor
    target_C: Tensor
    low_C: Tensor
    high_C: Tensor
    effective_frames: float
    resampled: Literal["drives", "runs of 20 frames"]

    def log_ratio(self, clip: float = 2.0) -> Tensor:
        """`prior_log_ratio` of this estimate."""
        return prior_log_ratio(self.target_C, self.source_C, self.effective_frames, clip)


def estimate_prior(
    estimator: Estimator,
    evidence: FrameEvidence,
    rng: np.random.Generator,
    resamples: int = 200,
    level: float = 0.9,
) -> PriorEstimate:
    """Runs an estimator over all frames, and over block-bootstrap resamples of them for the interval.

    Raises:
        ValueError: there is no frame.
    """
    frames = len(evidence.drives)
    if frames == 0:
        raise ValueError("no frames to estimate a prior from: keep the prior that is in use")
    blocks = group_frames(evidence.drives)
    weights_RN = torch.cat(
        [torch.ones(1, frames, dtype=torch.float64), torch.from_numpy(bootstrap_weights(blocks, resamples, rng))]
    )
    distributions_RC = estimator.target_distributions(evidence, weights_RN)
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low_C, high_C = distributions_RC[1:].quantile(tails, dim=0)
    return PriorEstimate(
        source_C=estimator.source_distribution,
        target_C=distributions_RC[0],
        low_C=low_C,
        high_C=high_C,
        effective_frames=effective_frames(estimator.per_frame(evidence).numpy(), blocks),
        resampled=blocks.kind,
    )


def maximize_posteriors(
    probabilities_MC: Tensor, source_distribution: Tensor, weights_RM: Tensor, iterations: int
) -> Tensor:
    """EM for the class distribution of unlabelled samples (Saerens, Latinne and Decaestecker, 2002; "MLLS").

    Args:
        probabilities_MC: calibrated posteriors under the source distribution.
        source_distribution: class shares that these posteriors follow.
        weights_RM: how often each sample counts, for R estimates at once.
        iterations: most EM steps; each raises the likelihood, from the source distribution, until shares settle.

    Returns:
        float64 [R, C]; each row sums to 1. A row whose weights are all 0 stays at the source distribution.
    """
    source_C = source_distribution.float().clamp(min=LOWEST_SHARE)
    source_C = source_C / source_C.sum()
    # float32 halves the time of what may be millions of samples times resamples.
    posteriors_MC, weights_RM = probabilities_MC.float(), weights_RM.float()
    target_RC = source_C.expand(len(weights_RM), -1)
    for _ in range(iterations):
        ratio_RC = target_RC / source_C
        evidence_RM = (ratio_RC @ posteriors_MC.T).clamp(min=1e-30)
        expected_RC = ratio_RC * ((weights_RM / evidence_RM) @ posteriors_MC)
        total_R1 = expected_RC.sum(dim=1, keepdim=True)
        previous_RC, target_RC = target_RC, torch.where(total_R1 > 0, expected_RC / total_R1, target_RC)
        if (target_RC - previous_RC).abs().max() < _SETTLED:
            break
    return target_RC.double() / target_RC.double().sum(dim=1, keepdim=True)


def calibrate(probabilities: Tensor, temperature: float, class_axis: int = 1) -> Tensor:
    """Temperature scaling (Guo et al., 2017) of probabilities instead of logits: softmax(log p / T)."""
    smallest = torch.finfo(probabilities.dtype).tiny
    return (probabilities.clamp(min=smallest).log() / temperature).softmax(dim=class_axis)
