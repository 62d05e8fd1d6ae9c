"""Choosing which image regions people label, and learning from them (RIPU, Xie et al., CVPR 2022)."""

from adaptation.region_selection.for_people import (
    AskedRegion,
    SelectionForPeople,
    paint_answers,
    radius_for_people,
    select_regions_for_people,
)
from adaptation.region_selection.losses import boundary_consistency_loss, label_boundary, negative_learning_loss
from adaptation.region_selection.scores import RegionScores, point_scores, region_scores
from adaptation.region_selection.selection import (
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
    "SelectionForPeople",
    "boundary_consistency_loss",
    "label_boundary",
    "negative_learning_loss",
    "paint_answers",
    "point_scores",
    "points_per_round",
    "radius_for_people",
    "region_scores",
    "regions_per_round",
    "reveal_labels",
    "select_points",
    "select_regions",
    "select_regions_for_people",
]
