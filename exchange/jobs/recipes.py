"""What a round does: one frozen, validated description, made by one function per recipe."""

from collections.abc import Callable
from types import MappingProxyType
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from exchange.jobs.crops import Appearance, CropSettings

EstimatorName = Literal["presence", "presence against labels", "posterior maximization"]
"""Estimators of the target's class distribution, as a recipe names them."""


class SelfLabelingConfig(BaseModel):
    """Pseudo-labels weighted by prototypes that learn from class-balanced self-labels (CPSL, Li et al., CVPR 2022)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prototype_frames: int = Field(default=64, ge=1)
    """Target frames whose class means start the prototypes."""
    fewest_frames: int = Field(default=20, ge=1)
    """A class seen in fewer of them keeps the teacher's word alone."""
    pixels_per_image: int = Field(default=512, ge=1)
    queue_pixels: int = Field(default=16384, ge=1)
    loss_weight: float = Field(default=0.1, gt=0)
    average_decay: float = Field(default=0.999, ge=0, lt=1)
    marginal_momentum: float = Field(default=0.99, ge=0, le=1)


class AskedLabelsConfig(BaseModel):
    """RIPU's losses in a round with labels from people (Xie et al., CVPR 2022). Defaults are the authors'."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cross_entropy_weight: float = Field(default=1.0, ge=0)
    """Of the mean over the asked pixels of the plain target crops."""
    boundary_weight: float = Field(default=0.1, ge=0)
    """Of the consistency at the source labels' boundaries."""
    negative_weight: float = Field(default=1.0, ge=0)
    """Of what pushes improbable classes of all target pixels further down."""
    negative_below: float = Field(default=0.05, gt=0, lt=1)


class AlignmentConfig(BaseModel):
    """Class-conditional adversarial alignment of the encoder (FADA, Wang et al., ECCV 2020). Defaults: the authors'."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    adversarial_weight: float = Field(default=0.001, gt=0)
    discriminator_rate: float = Field(default=1e-4, gt=0)
    temperature: float = Field(default=1.8, gt=0)
    """Divides the logits of the discriminator's targets, and those of the source's loss."""
    clip: float = Field(default=0.9, gt=0, le=1)
    hidden_channels: int = Field(default=256, ge=2)


class SelfTrainingConfig(BaseModel):
    """A mean teacher with class mixing (DACS, DAFormer, HRDA). Defaults are the authors'."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    confidence: float = Field(default=0.968, gt=0, le=1)
    teacher_decay: float = Field(default=0.999, ge=0, lt=1)
    teacher_warm_start: bool = False
    """True moves the teacher at its final pace from the first iteration; the authors' starts as the student's mean."""
    frozen_statistics: bool = False
    """True keeps batch norm's running statistics as they are, for batches too small to measure them."""
    frozen_stages: int = Field(default=0, ge=0)
    """EfficientNet-Lite0's stem and this many stages stay as they are; 0 leaves all to learn, as do other encoders."""
    feature_distance_weight: float = Field(default=0.005, ge=0)
    """Of the distance to the encoder that the round started from; 0 leaves it out."""
    self_labeling: SelfLabelingConfig | None = None
    asked_pixel_weight: float = Field(default=5.0, gt=0)
    """Of a pixel that a person labelled in the mixed images; a pseudo-label weighs at most 1."""
    asked_labels: AskedLabelsConfig | None = None
    """None learns from what people labelled in the mixed images alone, and saves a third pass of the student."""
    alignment: AlignmentConfig | None = None
    """None trains no discriminator, and saves a third pass of the student."""
    ships: Literal["student", "teacher"] = "student"


class DistillationConfig(BaseModel):
    """The adapted network teaches a small one, given beside the start, which ships instead."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    iterations: int = Field(ge=1)
    """Beside the round's budget."""
    hard_weight: float = Field(default=1.0, ge=0)
    soft_weight: float = Field(default=1.0, ge=0)
    frozen_statistics: bool = True


class PseudoLabelConfig(BaseModel):
    """The target's labels made once, class by class, and learnt like the source's (CBST, Zou et al., ECCV 2018)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    share: float = Field(default=1.0, gt=0, le=1)
    """Of the round's iterations; self-training has the rest."""
    learning_rate: float | None = Field(default=None, gt=0)
    """In place of the round's."""
    kept_share: float = Field(default=0.6, gt=0, le=1)
    """Of each class's pixels, the surest first."""
    sure_enough: float = Field(default=0.95, gt=0, le=1)
    """Confidence at which a pixel is kept beyond its class's share."""
    frames: int = Field(default=96, ge=1)
    """At most this many of the target's are labelled, evenly spread; those that people labelled come first."""
    statistics: Literal["start", "target", "both"] = "target"
    """Batch-norm statistics they are labelled with; both: the mean of the two networks' probabilities."""
    statistics_frames: int = Field(default=24, ge=1)
    """Of them, for the target's statistics."""
    mirrored: bool = False
    """Label each frame's mirror image, too, and take the mean of the probabilities."""
    scales: tuple[float, ...] = Field(default=(1.0,), min_length=1)
    """Sizes of the frames they are labelled in, as multiples of the served size: larger shows thin things better."""
    agreed: bool = False
    """Keep only pixels that every view (statistics, mirror image, scale) gives the same class."""
    frozen_stages: int = Field(default=2, ge=0)
    """EfficientNet-Lite0's stem and this many stages stay as they are; other encoders learn as a whole."""
    batch_norm: Literal["live", "put back", "frozen"] = "live"
    """Statistics that ship: of the training's batches, or the start's, which its batches may use (frozen) or not."""
    average_decay: float = Field(default=0.95, ge=0, lt=1)
    """Of the running average of the weights, which ships."""


class RoundConfig(BaseModel):
    """Everything that decides a round's weights besides the start, the data, the seed and the budget."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: str
    estimator: EstimatorName = "presence"
    """Thresholded presence measured alike on both domains, or against the source's labels (the authors'), or EM."""
    measured_frames: int = Field(default=256, ge=1)
    """At most this many frames of each domain are labelled for the prior, and of the target for the evaluation."""
    crops: CropSettings
    """Of the source; target crops are cut alike, but keep their look."""
    untrusted_margins: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    """Top, bottom, left and right of a target frame, as shares of its height or width, whose pseudo-labels weigh
    nothing: a camera sees its own car there, or distorts."""
    appearance: Appearance = "none"
    """The look of target frames that source frames are given: Lab statistics, or low-frequency Fourier amplitudes."""
    fit_hw_by_layout: dict[str, tuple[int, int]] = {}
    """Source layouts whose frames are fitted into another size than `crops.fit_hw`."""
    as_served: bool = True
    """Crops are cut at the scale at which the start labels frames, whatever `crops.fit_hw`, and fit into its frames."""
    detail_hw: tuple[int, int]
    detail_weight: float = Field(default=0.1, ge=0, lt=1)
    batch_size: int = Field(ge=1)
    """Crops of each domain."""
    learning_rate: float = Field(gt=0)
    """Of the encoder; the head and the attention take ten times as much."""
    weight_decay: float = Field(default=0.01, ge=0)
    warmup_iterations: int = Field(ge=0)
    rectified_share: float = Field(default=0.0, ge=0, le=1)
    """Share of the iterations that retrain the head alone, until its outputs follow the target's prior.

    0 never applies the prior: the outputs keep following the start's, and serving may adjust them.
    """
    self_training: SelfTrainingConfig | None
    pseudo_labels: PseudoLabelConfig | None = None
    """In place of self-training, or before it."""
    interpolation: float = Field(default=1.0, gt=0, le=1)
    """How far the shipped weights are from the start's (0) to the trained ones (1; WiSE-FT, Wortsman et al., 2022)."""
    distillation: DistillationConfig | None = None
    budget: float = Field(gt=0)
    budget_in: Literal["minutes", "iterations"]
    """Minutes are of the whole round, iterations of its training."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.rectified_share == 1:
            trained = self.self_training is None and self.pseudo_labels is None
        else:
            trained = self.self_training is not None or self.pseudo_labels is not None
        if not trained:
            raise ValueError("a recipe has self-training, pseudo-labels or both, or neither and rectified_share 1")
        if self.pseudo_labels is not None:
            if self.rectified_share > 0:
                raise ValueError("pseudo-labels are learnt without a rectified head: rectified_share must be 0")
            if (self.pseudo_labels.share == 1) != (self.self_training is None):
                raise ValueError("pseudo-labels alone have share 1, before self-training a smaller one")
        if self.interpolation < 1 and self.distillation is not None:
            raise ValueError("a distilled network has no start to interpolate from: interpolation must be 1")
        return self

    def with_budget(self, amount: float, unit: Literal["minutes", "iterations"]) -> Self:
        """The same recipe with another budget."""
        return self.model_copy(update={"budget": amount, "budget_in": unit})

    def for_frames(self, size_hw: tuple[int, int]) -> Self:
        """The same recipe for a start that labels frames of this size."""
        if not self.as_served:
            return self
        (crop_rows, crop_columns), (rows, columns) = self.crops.crop_hw, size_hw
        crop_hw = (min(crop_rows, rows), min(crop_columns, columns))
        detail_hw = (min(self.detail_hw[0], crop_hw[0]), min(self.detail_hw[1], crop_hw[1]))
        crops = self.crops.model_copy(update={"fit_hw": size_hw, "crop_hw": crop_hw})
        return self.model_copy(update={"crops": crops, "detail_hw": detail_hw})


def _small_crops(size: int) -> CropSettings:
    """Source crops that show every light: what kept a network trained by day from taking dark sky for building."""
    return CropSettings(
        crop_hw=(size, size),
        fit_hw=(512, 1024),
        scale_range=(0.7, 1.6),
        photometric="wide",
        rare_class_temperature=0.1,
        rare_class_min_pixels=250,
    )


def full() -> RoundConfig:
    """All of it: the head rectified to the target's prior, then a slow teacher with self-labels."""
    return RoundConfig(
        recipe="full",
        crops=_small_crops(384),
        detail_hw=(192, 192),
        batch_size=4,
        learning_rate=1e-4,
        warmup_iterations=50,
        rectified_share=0.1,
        self_training=SelfTrainingConfig(
            frozen_statistics=True,
            self_labeling=SelfLabelingConfig(),
            asked_pixel_weight=1.0,
            asked_labels=AskedLabelsConfig(),
            ships="teacher",
        ),
        budget=1000,
        budget_in="iterations",
    )


def self_label() -> RoundConfig:
    """Mean teacher and class mixing with self-labels; the prior is measured, not applied."""
    return full().model_copy(update={"recipe": "self_label", "rectified_share": 0.0})


def warmed_self_label() -> RoundConfig:
    """Labels that all views of the start agree on warm the network up for a mean teacher with self-labels."""
    plain = self_label()
    assert plain.self_training is not None  # noqa: S101 - by its definition
    self_labeling = SelfLabelingConfig(prototype_frames=24, fewest_frames=8)
    update = {
        "recipe": "warmed_self_label",
        "measured_frames": 24,
        "pseudo_labels": PseudoLabelConfig(
            share=0.4, learning_rate=3e-4, statistics="start", mirrored=True, scales=(1.0, 1.5), agreed=True,
            batch_norm="put back",
        ),
        "self_training": plain.self_training.model_copy(
            update={"self_labeling": self_labeling, "frozen_stages": 2}
        ),
        "interpolation": 0.75,
        "budget": 120,
    }  # fmt: skip
    return plain.model_copy(update=update)


def rectify_only() -> RoundConfig:
    """The head alone is retrained on the source so that its outputs follow the target's prior (Undoing UDA's CR)."""
    update = {"recipe": "rectify_only", "rectified_share": 1.0, "self_training": None, "budget": 200}
    return full().model_copy(update=update)


def full_distilled() -> RoundConfig:
    """All of it on a large network, which then teaches a small one (--student) that ships in its place."""
    return full().model_copy(update={"recipe": "full_distilled", "distillation": DistillationConfig(iterations=1000)})


def cpu_quick() -> RoundConfig:
    """Three minutes on two cores: class-balanced pseudo-labels, learnt beside the source's labels in small crops."""
    return RoundConfig(
        recipe="cpu_quick",
        measured_frames=16,
        crops=_small_crops(256).model_copy(
            update={"crop_hw": (192, 256), "photometric": "none", "rare_class_temperature": 0.03}
        ),
        detail_hw=(96, 128),
        batch_size=8,
        learning_rate=5e-4,
        warmup_iterations=10,
        self_training=None,
        pseudo_labels=PseudoLabelConfig(),
        budget=3,
        budget_in="minutes",
    )


def naive_mean_teacher() -> RoundConfig:
    """The trap: a fast, credulous teacher and a source that shows daylight only; it talks itself into collapse."""
    crops = _small_crops(384).model_copy(update={"photometric": "none"})
    naive = SelfTrainingConfig(teacher_decay=0.99, confidence=0.9, feature_distance_weight=0.0)
    update = {
        "recipe": "naive_mean_teacher", "crops": crops, "rectified_share": 0.0, "self_training": naive,
        "budget": 240,
    }  # fmt: skip
    return full().model_copy(update=update)


def paper_hrda() -> RoundConfig:
    """HRDA's self-training with its authors' settings, for a network on mit_b5 (Hoyer et al., ECCV 2022)."""
    return RoundConfig(
        recipe="paper_hrda",
        crops=CropSettings(crop_hw=(1024, 1024), fit_hw=(1024, 2048)),
        untrusted_margins=(30 / 1024, 240 / 1024, 30 / 2048, 30 / 2048),
        fit_hw_by_layout={"gta5": (1440, 2560), "synthia": (1520, 2560)},
        as_served=False,
        detail_hw=(512, 512),
        batch_size=2,
        learning_rate=6e-5,
        warmup_iterations=1500,
        self_training=SelfTrainingConfig(),
        budget=40_000,
        budget_in="iterations",
    )


RECIPES: MappingProxyType[str, Callable[[], RoundConfig]] = MappingProxyType(
    {
        recipe.__name__: recipe
        for recipe in (
            full,
            self_label,
            warmed_self_label,
            rectify_only,
            full_distilled,
            cpu_quick,
            naive_mean_teacher,
            paper_hrda,
        )
    }
)
