"""A fleet whose class frequencies shift at a known moment, and what the live prior makes of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.live_prior.observed_drives import ObservedDrive, count_labels
from exchange.fleet.presence import PresenceRow, PresenceRows
from exchange.label_space import NUM_CLASSES
from exchange.plan.estimate import HALF_LIFE_S, SourceView, estimate

UPDATE_EVERY = 32
"""Frames between one estimate and the next."""
AFTER_S = 5 * HALF_LIFE_S
"""How long after the shift the estimate is judged: what was before counts for 3 % by then."""
BEFORE_S = 2 * HALF_LIFE_S


@dataclass(frozen=True)
class Timeline:
    """N frames in order of capture; drives one after the other in each phase, evenly over its time."""

    rows: PresenceRows
    logits_NKS: NDArray[np.float16]
    truth_NS: NDArray[np.uint8]
    shift: int
    """Index of the first frame after it."""


@dataclass(frozen=True)
class Outcome:
    """Of one seed."""

    covered_K: NDArray[np.bool_]
    """Whether the 90 % interval holds the true share, for the classes that are judged."""
    width_K: NDArray[np.float64]
    iou_change_W: NDArray[np.float64]
    """mIoU with adjustment minus without, in points, by window."""
    mean_iou_W: NDArray[np.float64]
    """Without adjustment."""
    largest_ratio: float


def make_timeline(before: Sequence[ObservedDrive], after: Sequence[ObservedDrive]) -> Timeline:
    drives, moments_s = [], []
    for phase, start_s, length_s in ((before, 0.0, BEFORE_S), (after, BEFORE_S, AFTER_S)):
        for place, drive in enumerate(phase):
            drives.append(drive)
            frames = len(drive.truth_NS)
            begin_s, per_drive_s = start_s + place * length_s / len(phase), length_s / len(phase)
            moments_s.append(begin_s + per_drive_s * np.arange(frames) / frames)
    rows = [
        PresenceRow(float(moment_s), f"drive-{number}", 1, presence_K, probability_K, 1.0)
        for number, (drive, drive_moments_s) in enumerate(zip(drives, moments_s, strict=True))
        for moment_s, presence_K, probability_K in zip(
            drive_moments_s, drive.presence_NK, drive.mean_probability_NK, strict=True
        )
    ]
    return Timeline(
        rows=PresenceRows.of(rows),
        logits_NKS=np.concatenate([drive.logits_NKS for drive in drives]),
        truth_NS=np.concatenate([drive.truth_NS for drive in drives]),
        shift=sum(len(drive.truth_NS) for drive in before),
    )


def true_shares(drives: Sequence[ObservedDrive], source: SourceView) -> NDArray[np.float64]:
    """Share of frames whose true labels hold more of a class than its threshold, [K]."""
    shares_NK = np.concatenate([drive.true_share_NK for drive in drives])
    return np.asarray((shares_NK > source.thresholds_K).mean(axis=0))


def source_presence(drives: Sequence[ObservedDrive], thresholds_K: NDArray[np.float64]) -> list[float]:
    """What a manifest says of the same model on its source: the share of frames in which it sees each class."""
    presence_NK = np.concatenate([drive.presence_NK for drive in drives])
    return [float(share) for share in (presence_NK > thresholds_K).mean(axis=0)]


def judge(timeline: Timeline, truth_K: NDArray[np.float64], source: SourceView, window: int, seed: int) -> Outcome:
    """Serves the timeline's frames with the priors that their forerunners gave, and without.

    Classes that the source has no pixel of are not judged: nothing tells when they are there.
    """
    frames = len(timeline.rows)
    final = estimate(timeline.rows, source, seed)
    if final is None:
        raise ValueError(f"{frames} frames are too few for an estimate: take more drives")
    known_K = source.thresholds_K > 0
    low_K, high_K = np.array(final.low), np.array(final.high)
    plain_NKK, adjusted_NKK = [], []
    ratio_K, largest = np.zeros(NUM_CLASSES), 0.0
    for index in range(frames):
        if index % UPDATE_EVERY == 0 and (found := estimate(timeline.rows[np.arange(index)], source, seed)) is not None:
            ratio_K = np.array(found.log_ratio)
            largest = max(largest, float(np.abs(ratio_K).max()))
        frame = (timeline.logits_NKS[index : index + 1], timeline.truth_NS[index : index + 1])
        plain_NKK.append(count_labels(*frame, np.zeros(NUM_CLASSES)))
        adjusted_NKK.append(count_labels(*frame, ratio_K))
    windows = [slice(start, start + window) for start in range(0, frames - window + 1, window)]
    plain_W, adjusted_W = (
        np.array([100 * _mean_iou(np.sum(counts[chosen], axis=0)) for chosen in windows])
        for counts in (plain_NKK, adjusted_NKK)
    )
    return Outcome(
        covered_K=((low_K <= truth_K) & (truth_K <= high_K))[known_K],
        width_K=(high_K - low_K)[known_K],
        iou_change_W=adjusted_W - plain_W,
        mean_iou_W=plain_W,
        largest_ratio=largest,
    )


def _mean_iou(confusion_KK: NDArray[np.int64]) -> float:
    """Over the classes that the truth holds, so that one that never occurs does not decide."""
    hits_K = np.diag(confusion_KK)
    occurs_K = confusion_KK.sum(axis=1) > 0
    union_K = confusion_KK.sum(axis=0) + confusion_KK.sum(axis=1) - hits_K
    return float((hits_K[occurs_K] / union_K[occurs_K]).mean())
