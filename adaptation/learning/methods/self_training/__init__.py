"""Self-training on unlabelled target images (HRDA, DAFormer, DACS)."""

from adaptation.learning.methods.self_training.class_mix import choose_classes, class_masks, class_mix
from adaptation.learning.methods.self_training.feature_distance import (
    downscale_labels,
    feature_distance,
    mean_distance,
    thing_cells,
)
from adaptation.learning.methods.self_training.mean_teacher import MeanTeacher, teacher_alpha
from adaptation.learning.methods.self_training.pseudo_labels import (
    PseudoLabels,
    confident_share,
    inside_margins,
    pseudo_label_weight,
    pseudo_labels,
)
from adaptation.learning.methods.self_training.step import (
    MixedBatch,
    SelfTrainingBatch,
    SelfTrainingSettings,
    StepChoices,
    StepResult,
    accumulate_gradients,
    choices_of,
    draw_choices,
    labelled_losses,
    mix,
    self_training_step,
    source_losses,
)
from adaptation.learning.methods.self_training.strong_augmentation import (
    ColorJitter,
    StrongAugmentation,
    augment_strongly,
    augmentation_of,
    color_jitter,
    draw_strong_augmentation,
    gaussian_blur,
)

__all__ = [
    "ColorJitter",
    "MeanTeacher",
    "MixedBatch",
    "PseudoLabels",
    "SelfTrainingBatch",
    "SelfTrainingSettings",
    "StepChoices",
    "StepResult",
    "StrongAugmentation",
    "accumulate_gradients",
    "augment_strongly",
    "augmentation_of",
    "choices_of",
    "choose_classes",
    "class_masks",
    "class_mix",
    "color_jitter",
    "confident_share",
    "downscale_labels",
    "draw_choices",
    "draw_strong_augmentation",
    "feature_distance",
    "gaussian_blur",
    "inside_margins",
    "labelled_losses",
    "mean_distance",
    "mix",
    "pseudo_label_weight",
    "pseudo_labels",
    "self_training_step",
    "source_losses",
    "teacher_alpha",
    "thing_cells",
]
