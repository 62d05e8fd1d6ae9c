"""A round small enough for tests: run as a program that kills itself, or imported for its parts.

python small_round.py START SOURCE TARGET OUT RECIPE WHAT DONE   kills itself when DONE of WHAT are done
"""

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from adaptation.learning.data.data_choice import choose_data
from adaptation.learning.rounds.run import adapt
from adaptation.learning.rounds.work import Round
from exchange.jobs.crops import CropSettings
from exchange.jobs.recipes import PseudoLabelConfig, RoundConfig, SelfLabelingConfig, SelfTrainingConfig

CONFIG = RoundConfig(
    recipe="small",
    measured_frames=4,
    crops=CropSettings(
        crop_hw=(64, 64), fit_hw=(64, 128), scale_range=(0.8, 1.5), photometric="wide", rare_class_min_pixels=50
    ),
    detail_hw=(32, 32),
    batch_size=2,
    learning_rate=1e-3,
    warmup_iterations=2,
    rectified_share=0.3,
    self_training=SelfTrainingConfig(
        self_labeling=SelfLabelingConfig(prototype_frames=3, fewest_frames=2, pixels_per_image=32, queue_pixels=128),
        ships="teacher",
    ),
    budget=12,
    budget_in="iterations",
)

PSEUDO_LABELS = CONFIG.model_copy(
    update={
        "recipe": "pseudo_labels", "rectified_share": 0.0, "self_training": None,
        "pseudo_labels": PseudoLabelConfig(
            frames=5, statistics_frames=3, statistics="both", mirrored=True, scales=(1.5,)
        ),
    }
)  # fmt: skip
WARMED = CONFIG.model_copy(
    update={
        "recipe": "warmed", "rectified_share": 0.0, "interpolation": 0.75,
        "pseudo_labels": PseudoLabelConfig(share=0.3, frames=5, statistics="start", batch_norm="put back"),
    }
)  # fmt: skip
CONFIGS = {config.recipe: config for config in (CONFIG, PSEUDO_LABELS, WARMED)}


def small_round(
    start: Path, source: Path, target: Path, out: Path, config: RoundConfig = CONFIG, *, export: bool = False
) -> Round:
    torch.set_num_threads(1)
    sources = choose_data([source], "train")
    return Round(
        config,
        start,
        sources,
        target,
        out,
        seed=3,
        frame_size=(64, 96),
        classes="camvid11",
        export=export,
        checkpoint_every_s=0,
    )


def ignore(what: str, done: int, total: int, numbers: Mapping[str, float]) -> None:
    """Takes progress and shows none."""


def main() -> None:
    start, source, target, out = map(Path, sys.argv[1:5])

    def kill_at(what: str, done: int, total: int, numbers: Mapping[str, float]) -> None:
        if (what, done) == (sys.argv[6], int(sys.argv[7])):
            os.kill(os.getpid(), signal.SIGKILL)

    adapt(small_round(start, source, target, out, CONFIGS[sys.argv[5]]), kill_at)


if __name__ == "__main__":
    main()
