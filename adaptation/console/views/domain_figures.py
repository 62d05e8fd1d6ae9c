"""A domain's figures for people: each of this domain alone, or not known and why."""

from datetime import timedelta

import numpy as np

from exchange.fleet.gateways import Heartbeat
from exchange.fleet.presence import PresenceRows
from exchange.label_space import CLASS_NAMES
from exchange.plan.serving_plan import Candidate, DomainPlan

CURVE_OVER = timedelta(minutes=30)
CURVE_POINTS = 60
_LEAST_SHOWN_RATIO = 0.05
_MOST_SHOWN_RATIOS = 3


def candidate_in_words(candidate: Candidate | None) -> str:
    if candidate is None:
        return ""
    if candidate.share > 0:
        return f"version {candidate.version} answers {100 * candidate.share:.0f} % of the drives"
    return f"version {candidate.version} as a shadow of {100 * candidate.shadow_share:.0f} % of the frames"


def moved_classes(served: DomainPlan) -> tuple[tuple[str, float], ...]:
    """The classes whose ratio counts most for the version that serves."""
    ratio_K = served.log_prior_ratio.get(served.serving, ())
    moved = [(CLASS_NAMES[k], round(value, 2)) for k, value in enumerate(ratio_K) if abs(value) >= _LEAST_SHOWN_RATIO]
    return tuple(sorted(moved, key=lambda each: -abs(each[1]))[:_MOST_SHOWN_RATIOS])


def confidence_curve(rows: PresenceRows, now_s: float) -> tuple[float | None, ...]:
    """Means over equal stretches of time that end now."""
    begins_s = now_s - CURVE_OVER.total_seconds()
    place_N = ((rows.captured_s_N - begins_s) / CURVE_OVER.total_seconds() * CURVE_POINTS).astype(int)
    inside_N = (place_N >= 0) & (place_N < CURVE_POINTS)
    frames_P = np.bincount(place_N[inside_N], minlength=CURVE_POINTS)
    sums_P = np.bincount(place_N[inside_N], rows.mean_confidence_N[inside_N].astype(float), CURVE_POINTS)
    return tuple(round(s / n, 3) if n else None for s, n in zip(sums_P.tolist(), frames_P.tolist(), strict=True))


def p99_of_domain(beats: list[Heartbeat], version: int, is_driven: bool, others: list[str]) -> tuple[float | None, str]:
    """The slowest gateway's p99 from arrival to answer, or why it is not known: gateways time versions, not domains.

    Args:
        is_driven: whether the version has answered frames of the domain of late.
        others: domains that it answers, too.
    """
    if not is_driven:
        return None, f"version {version} answered no frame here in the last {CURVE_OVER.seconds // 60} minutes"
    if others:
        return None, f"p99: version {version} answered {', '.join(others)} of late, too, and is timed as one, see below"
    found = [beat.versions[version].p99_s for beat in beats if version in beat.versions]
    slowest = max((value for value in found if value is not None), default=None)
    return slowest, "" if slowest is not None else f"p99: no gateway that is alive has timed version {version}"
