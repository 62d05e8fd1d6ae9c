"""The rows of the table: what each does with the same start and the same frames."""

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from adaptation.learning.rounds.region_requests import RegionBudget
from exchange.jobs.crops import Appearance
from exchange.jobs.recipes import (
    AlignmentConfig,
    EstimatorName,
    PseudoLabelConfig,
    RoundConfig,
    SelfTrainingConfig,
    cpu_quick,
    full,
    naive_mean_teacher,
    rectify_only,
    self_label,
    warmed_self_label,
)

START, UPPER_BOUNDS = "start", ("upper-slow", "upper-fast")

ITERATIONS = 120
"""Of each row's training on two cores, unless its recipe is counted in minutes or it says otherwise."""


@dataclass(frozen=True)
class LabelTraining:
    """The start, trained on the source's and all of the target's labels: the upper bound is the better of two rates."""

    learning_rate: float
    iterations: int = 3 * ITERATIONS


@dataclass(frozen=True)
class Row:
    what: str
    does: RoundConfig | LabelTraining | EstimatorName | Literal["AdaBN"] | None = None
    """A round, a training with labels, inference adjustment by an estimator, the target's statistics, or nothing."""
    asked: Callable[[int], RegionBudget] | None = None
    """What people may be asked, by the seed."""
    interpolations: tuple[float, ...] = ()
    """Shares of the way from the start to the trained weights that are scored, too, beside the recipe's own."""

    @property
    def sees_labels(self) -> bool:
        """Whether it learns from labels of the target, and so scores apart from them."""
        return self.asked is not None or isinstance(self.does, LabelTraining)

    @property
    def has_seeds(self) -> bool:
        """Whether chance decides anything."""
        return isinstance(self.does, RoundConfig | LabelTraining)

    @property
    def settings(self) -> str:
        """What decides the row's result beside start and seed: a cell of other settings is not the row's.

        Defaults are left out, so that an option that is new, and off, outdates no cell.
        """
        does = repr(self.does)
        if isinstance(self.does, RoundConfig):
            does = self.does.model_dump_json(exclude_defaults=True)
        return f"{does}, asked {self.asked(0) if self.asked else None}"


def _iterations(recipe: RoundConfig, **settings: object) -> RoundConfig:
    return recipe.model_copy(update={**settings, "budget": ITERATIONS, "budget_in": "iterations"})


def _teaching(recipe: RoundConfig, **settings: object) -> RoundConfig:
    """Return the recipe with other settings of its self-training."""
    assert isinstance(recipe.self_training, SelfTrainingConfig)  # noqa: S101  # by its definition
    return _iterations(recipe, self_training=recipe.self_training.model_copy(update=settings))


def _labelling(recipe: RoundConfig, **settings: object) -> RoundConfig:
    """Return the recipe with other settings of its pseudo-labels."""
    assert isinstance(recipe.pseudo_labels, PseudoLabelConfig)  # noqa: S101  # by its definition
    return _iterations(recipe, pseudo_labels=recipe.pseudo_labels.model_copy(update=settings))


def _styled(appearance: Appearance) -> RoundConfig:
    return _iterations(warmed_self_label(), appearance=appearance)


ROWS: MappingProxyType[str, Row] = MappingProxyType(
    {
        START: Row("the start"),
        "adabn": Row("AdaBN: the target's statistics", "AdaBN"),
        "cpu-quick": Row("pseudo-labels under the target's statistics", _iterations(cpu_quick())),
        "round": Row("the round that ships", _iterations(warmed_self_label()), interpolations=(0.25, 0.5, 1.0)),
        "naive": Row("the trap: naive mean teacher", _iterations(naive_mean_teacher())),
        "upper-slow": Row("with the target's labels, rate 3e-4", LabelTraining(3e-4)),
        "upper-fast": Row("with the target's labels, rate 1e-3", LabelTraining(1e-3)),
        "self-label": Row("mean teacher with CPSL's prototypes alone", _iterations(self_label())),
        "mean-teacher": Row("mean teacher alone", _teaching(self_label(), self_labeling=None)),
        "warm-up": Row(
            "the round's pseudo-labels alone",
            _labelling(_iterations(warmed_self_label(), self_training=None), share=1.0),
        ),
        "all-the-way": Row("the round, no interpolation", _iterations(warmed_self_label(), interpolation=1.0)),
        "no-agreement": Row("the round, views need not agree", _labelling(warmed_self_label(), agreed=False)),
        "one-view": Row(
            "the round, labels of one view",
            _labelling(warmed_self_label(), mirrored=False, scales=(1.0,), agreed=False),
        ),
        "live-statistics": Row("the round, live statistics", _teaching(warmed_self_label(), frozen_statistics=False)),
        "no-prototypes": Row("the round, no prototypes", _teaching(warmed_self_label(), self_labeling=None)),
        "cr": Row("CR alone", _iterations(rectify_only())),
        "cr-self-label": Row("CR, then mean teacher with prototypes", _iterations(full())),
        "fada": Row("the round, aligned by FADA", _teaching(warmed_self_label(), alignment=AlignmentConfig())),
        "lab": Row("the round, source in Lab look", _styled("lab")),
        "fourier": Row("the round, source in Fourier look", _styled("fourier")),
        "ia": Row("inference adjustment, presence", "presence"),
        "ia-labels": Row("inference adjustment, presence against labels", "presence against labels"),
        "ia-em": Row("inference adjustment, posterior maximization", "posterior maximization"),
        "clicks": Row(
            "the round and 50 clicks a frame", _iterations(warmed_self_label()), lambda _: RegionBudget(clicks=50)
        ),
        "random-clicks": Row(
            "the round and 50 random clicks",
            _iterations(warmed_self_label()),
            lambda seed: RegionBudget(clicks=50, random_seed=seed),
        ),
        "ripu": Row(
            "the round and RIPU 2.2 %", _iterations(warmed_self_label()), lambda _: RegionBudget(pixel_share=0.022)
        ),
        "random": Row(
            "the round and random 2.2 %",
            _iterations(warmed_self_label()),
            lambda seed: RegionBudget(pixel_share=0.022, random_seed=seed),
        ),
    }
)

ESSENTIAL = (START, "cpu-quick", "round", "adabn", "naive", *UPPER_BOUNDS)
"""Rows that say whether rounds help; the others, which say why, follow for the shifts `EXPLAINED` with one seed."""
EXPLAINED = ("camvid-dusk", "sim-dusk")
