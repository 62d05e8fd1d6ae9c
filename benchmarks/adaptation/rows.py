"""The rows of the table: what each does with the same start, the same frames and the same number of iterations."""

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from adaptation.learning.rounds.region_requests import RegionBudget
from exchange.jobs.crops import Appearance
from exchange.jobs.recipes import (
    AlignmentConfig,
    EstimatorName,
    RoundConfig,
    cpu_quick,
    full,
    naive_mean_teacher,
    rectify_only,
    self_label,
)

SOURCE_ONLY, UPPER_BOUND = "source only", "upper bound"


@dataclass(frozen=True)
class Adjustment:
    """Inference adjustment of the start by an estimator's ratio: as it is served, or believed fully."""

    estimator: EstimatorName
    fully: bool


@dataclass(frozen=True)
class Row:
    what: str
    recipe: RoundConfig | None = None
    adjustment: Adjustment | None = None
    asked: Callable[[int], RegionBudget] | None = None
    """What people may be asked, by the seed; such a row is trained once for each split."""

    trained_on: Literal["source", "both"] | None = None
    """Labels that the start is trained on once more: the source's alone, or the target's, too."""

    @property
    def by_split(self) -> bool:
        """Whether it is trained once for each split, since it sees labels of the target."""
        return self.asked is not None or self.trained_on == "both"


def _hrda() -> RoundConfig:
    """Self-training alone: neither prior nor prototypes."""
    plain = self_label()
    assert plain.self_training is not None  # noqa: S101  # by its definition
    settings = plain.self_training.model_copy(update={"self_labeling": None})
    return plain.model_copy(update={"recipe": "hrda", "self_training": settings})


def _aligned() -> RoundConfig:
    plain = full()
    assert plain.self_training is not None  # noqa: S101  # by its definition
    settings = plain.self_training.model_copy(update={"alignment": AlignmentConfig()})
    return plain.model_copy(update={"recipe": "full, aligned", "self_training": settings})


def _full_as(appearance: Appearance) -> RoundConfig:
    return full().model_copy(update={"recipe": f"full, {appearance}", "appearance": appearance})


def _pseudo_labelled(**settings: object) -> RoundConfig:
    """Return `cpu_quick`, counted in iterations, with other settings for its labels."""
    quick = cpu_quick()
    assert quick.pseudo_labels is not None  # noqa: S101  # by its definition
    labels = quick.pseudo_labels.model_copy(update=settings)
    update = {"recipe": "pseudo_labels", "pseudo_labels": labels, "budget": 240, "budget_in": "iterations"}
    return quick.model_copy(update=update)


def _adjustments() -> dict[str, Row]:
    names: dict[str, EstimatorName] = {
        "presence": "presence",
        "labels": "presence against labels",
        "em": "posterior maximization",
    }
    return {
        f"ia-{short}{'-fully' if fully else ''}": Row(
            f"+ IA, {name}{', believed fully' if fully else ''}", adjustment=Adjustment(name, fully)
        )
        for short, name in names.items()
        for fully in (False, True)
    }


ROWS: MappingProxyType[str, Row] = MappingProxyType(
    {
        "source": Row(SOURCE_ONLY),
        "continued": Row("source only, trained on", trained_on="source"),
        **_adjustments(),
        "cr": Row("+ CR", rectify_only()),
        "cpsl": Row("CPSL: self-labels", self_label()),
        "hrda": Row("HRDA self-training", _hrda()),
        "full": Row("all together", full()),
        "full-lab": Row("all, source in Lab look", _full_as("lab")),
        "full-fourier": Row("all, source in Fourier look", _full_as("fourier")),
        "full-aligned": Row("all, aligned by a discriminator", _aligned()),
        "cbst": Row("pseudo-labels by the target's statistics", _pseudo_labelled()),
        "cbst-both": Row(
            "pseudo-labels by both statistics, mirrored", _pseudo_labelled(statistics="both", mirrored=True)
        ),
        "cbst-large": Row("the same in larger frames", _pseudo_labelled(statistics="both", mirrored=True, scale=1.5)),
        "naive": Row("the trap: naive mean teacher", naive_mean_teacher()),
        "ripu": Row("all + RIPU 2.2 %", full(), asked=lambda _: RegionBudget(pixel_share=0.022)),
        "random": Row(
            "all + random 2.2 %", full(), asked=lambda seed: RegionBudget(pixel_share=0.022, random_seed=seed)
        ),
        "ripu-clicks": Row("all + 50 clicks a frame", full(), asked=lambda _: RegionBudget(clicks=50)),
        "random-clicks": Row(
            "all + 50 random clicks", full(), asked=lambda seed: RegionBudget(clicks=50, random_seed=seed)
        ),
        "upper": Row(UPPER_BOUND, trained_on="both"),
    }
)
