"""Choosing which image regions people label, and learning from them (RIPU, Xie et al., CVPR 2022)."""

from adaptation.learning.methods.ripu.for_people import (
    AskedRegion,
    paint_answer,
    regions_for_people,
    superpixels,
    width_for_people,
)
from adaptation.learning.methods.ripu.losses import boundary_consistency_loss, label_boundary, negative_learning_loss
from adaptation.learning.methods.ripu.scores import RegionScores, point_scores, region_scores
from adaptation.learning.methods.ripu.selection import (
    Selection,
    points_per_round,
    regions_per_round,
    reveal_labels,
    select_points,
    select_regions,
)

__all__ = [
    "AskedRegion",
    "RegionScores",
    "Selection",
    "boundary_consistency_loss",
    "label_boundary",
    "negative_learning_loss",
    "paint_answer",
    "point_scores",
    "points_per_round",
    "region_scores",
    "regions_for_people",
    "regions_per_round",
    "reveal_labels",
    "select_points",
    "select_regions",
    "superpixels",
    "width_for_people",
]
