"""What a source training is: one frozen, validated description, made by one function per recipe."""

from collections.abc import Callable
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict, Field

from exchange.jobs.crops import CropSettings
from exchange.networks import NetworkConfig


class TrainingConfig(BaseModel):
    """Everything that decides the trained weights besides the data, the seed and the number of iterations."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: str
    network: NetworkConfig
    crops: CropSettings
    fit_hw_by_layout: dict[str, tuple[int, int]] = {}
    """Layouts whose frames are fitted into another size than `crops.fit_hw`."""
    detail_hw: tuple[int, int]
    detail_loss_weight: float = Field(default=0.1, ge=0, lt=1)
    loss_step: int = Field(default=1, ge=1)
    """The loss reads every n-th labelled pixel of every n-th row, from a corner drawn anew each iteration."""
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    """Of the encoder; the head and the attention take ten times as much."""
    weight_decay: float = Field(default=0.01, ge=0)
    warmup_iterations: int = Field(ge=0)
    frozen_stages: int | None = Field(default=None, ge=0)
    """Keeps EfficientNet-Lite0's stem and this many stages as they are pretrained: they cost a third of the time."""
    average_decay: float = Field(default=0.999, ge=0, lt=1)
    """Decay of the running average of the weights, which is what is saved; 0 saves the last weights."""

    def crop_settings(self, layout: str) -> CropSettings:
        fit_hw = self.fit_hw_by_layout.get(layout, self.crops.fit_hw)
        return self.crops.model_copy(update={"fit_hw": fit_hw})


def starter() -> TrainingConfig:
    """The release that ships: small enough for two CPU cores, and trained for light it has never seen."""
    return TrainingConfig(
        recipe="starter",
        network=NetworkConfig(encoder="efficientnet_lite0", head="light"),
        crops=CropSettings(
            crop_hw=(384, 512),
            fit_hw=(512, 1024),
            scale_range=(0.7, 1.6),
            photometric="wide",
            rare_class_temperature=0.03,
            rare_class_min_pixels=250,
        ),
        detail_hw=(192, 256),
        loss_step=2,
        batch_size=8,
        learning_rate=1e-3,
        warmup_iterations=100,
        frozen_stages=2,
        average_decay=0.995,
    )


def starter_no_detail() -> TrainingConfig:
    """The starter without HRDA's detail branch: the same encoder and head on the half-resolution frame alone."""
    plain = starter()
    network = plain.network.model_copy(update={"detail": False})
    return plain.model_copy(update={"recipe": "starter_no_detail", "network": network})


def few_labels() -> TrainingConfig:
    """A minute on two cores: the starter itself (--start) learns from a few labelled frames of another domain."""
    update = {
        "recipe": "few_labels", "batch_size": 4, "learning_rate": 3e-4, "warmup_iterations": 10, "average_decay": 0.95,
    }  # fmt: skip
    return starter().model_copy(update=update)


def source_only() -> TrainingConfig:
    """The starter's network without the wide photometric range: the baseline that adaptation is measured from."""
    wide = starter()
    crops = wide.crops.model_copy(update={"photometric": "none"})
    return wide.model_copy(update={"recipe": "source_only", "crops": crops})


def daylight() -> TrainingConfig:
    """What the demo begins with: a few minutes on two cores, frames of 256x512, and no light but the source's own."""
    plain = source_only()
    crops = plain.crops.model_copy(update={"crop_hw": (192, 256), "fit_hw": (256, 512), "rare_class_min_pixels": 64})
    update = {
        "recipe": "daylight", "crops": crops, "detail_hw": (96, 128), "warmup_iterations": 50, "average_decay": 0.98,
    }  # fmt: skip
    return plain.model_copy(update=update)


def hrda_mit_b5() -> TrainingConfig:
    """HRDA's source branch with its authors' settings (Hoyer et al., ECCV 2022; 40,000 iterations)."""
    return TrainingConfig(
        recipe="hrda_mit_b5",
        network=NetworkConfig(encoder="mit_b5", head="daformer"),
        crops=CropSettings(crop_hw=(1024, 1024), fit_hw=(1024, 2048)),
        fit_hw_by_layout={"gta5": (1440, 2560), "synthia": (1520, 2560)},
        detail_hw=(512, 512),
        batch_size=2,
        learning_rate=6e-5,
        warmup_iterations=1500,
        average_decay=0.0,
    )


RECIPES: MappingProxyType[str, Callable[[], TrainingConfig]] = MappingProxyType(
    {recipe.__name__: recipe for recipe in (starter, starter_no_detail, few_labels, source_only, daylight, hrda_mit_b5)}
)
