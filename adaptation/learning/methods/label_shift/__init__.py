"""Label shift between where a network was trained and where it drives (Liu et al., CVPR 2022)."""

from adaptation.learning.methods.label_shift.adjustment import adjust, prior_log_ratio, rectified_cross_entropy
from adaptation.learning.methods.label_shift.estimators import (
    Estimator,
    FrameEvidence,
    PosteriorMaximization,
    PriorEstimate,
    ThresholdedPresence,
    calibrate,
    estimate_prior,
    maximize_posteriors,
)
from adaptation.learning.methods.label_shift.presence import (
    class_distribution,
    image_level_counts,
    presence_scores,
    present,
)

__all__ = [
    "Estimator",
    "FrameEvidence",
    "PosteriorMaximization",
    "PriorEstimate",
    "ThresholdedPresence",
    "adjust",
    "calibrate",
    "class_distribution",
    "estimate_prior",
    "image_level_counts",
    "maximize_posteriors",
    "presence_scores",
    "present",
    "prior_log_ratio",
    "rectified_cross_entropy",
]
