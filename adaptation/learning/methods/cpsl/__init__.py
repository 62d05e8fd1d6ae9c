"""Class-balanced pixel-level self-labelling (CPSL, Li et al., CVPR 2022)."""

from adaptation.learning.methods.cpsl.feature_queue import FeatureQueue
from adaptation.learning.methods.cpsl.losses import (
    consistency_loss,
    contrastive_loss,
    distillation_loss,
    self_labeling_loss,
    self_labels,
    symmetric_cross_entropy,
)
from adaptation.learning.methods.cpsl.prototypes import Prototypes, cosine_scores, prototype_weights
from adaptation.learning.methods.cpsl.rectification import RectifiedLabels, WeakView, follow_view, rectify
from adaptation.learning.methods.cpsl.sampling import (
    class_balanced_pixels,
    class_shares,
    uniform_pixels,
    update_marginal,
)
from adaptation.learning.methods.cpsl.transport import sinkhorn

__all__ = [
    "FeatureQueue",
    "Prototypes",
    "RectifiedLabels",
    "WeakView",
    "class_balanced_pixels",
    "class_shares",
    "consistency_loss",
    "contrastive_loss",
    "cosine_scores",
    "distillation_loss",
    "follow_view",
    "prototype_weights",
    "rectify",
    "self_labeling_loss",
    "self_labels",
    "sinkhorn",
    "symmetric_cross_entropy",
    "uniform_pixels",
    "update_marginal",
]
