"""The loop that every training of a round runs in: a kill at any moment costs no bit of the result."""

import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from adaptation.learning.data.crop_stream import prefetch
from adaptation.learning.rounds.steps import RoundError
from adaptation.learning.training.checkpoint import CHECKPOINT_NAME, read_checkpoint, write_checkpoint

CHECKPOINT_EVERY_S = 60.0
HISTORY_FILE = "history.json"
_HISTORY_POINTS = 200

Batch = TypeVar("Batch")
Batch_contra = TypeVar("Batch_contra", contravariant=True)
Numbers = Mapping[str, float]
OnStep = Callable[[int, int, Numbers], None]
"""Takes the iterations done, the iterations in all, and the step's numbers: `loss` and others."""


class Learner(Protocol[Batch_contra]):
    """A training that steps one iteration at a time.

    Every random choice is a function of the seed and the iteration, so that a state needs no generator's.
    """

    def state(self) -> dict[str, Any]:
        """Tensors and plain values from which `restore` goes on."""

    def restore(self, state: dict[str, Any]) -> None: ...

    def step(self, batch: Batch_contra, iteration: int) -> Numbers: ...


def learn(
    learner: Learner[Batch],
    draw: Callable[[int], Batch],
    iterations: int,
    folder: Path,
    on_step: OnStep,
    checkpoint_every_s: float = CHECKPOINT_EVERY_S,
) -> list[dict[str, float]]:
    """Runs a learner from its last checkpoint in `folder` to its end.

    Returns:
        Up to 200 points of its history: the last iteration of a stretch, and the means over it.

    Raises:
        RoundError: a loss is not finite.
    """
    done, history, recent = 0, list[dict[str, float]](), list[Numbers]()
    if (state := read_checkpoint(folder)) is not None:
        done, history, recent = state["done"], state["history"], state["recent"]
        learner.restore(state["learner"])
    stretch = -(-iterations // _HISTORY_POINTS)
    written_s = time.monotonic()
    for iteration, batch in prefetch(draw, range(done, iterations), threads=1):
        numbers = learner.step(batch, iteration)
        if not math.isfinite(numbers["loss"]):
            raise RoundError(f"the loss is {numbers['loss']} at iteration {iteration}: start anew with another --seed")
        recent.append(numbers)
        if len(recent) == stretch or iteration + 1 == iterations:
            history.append({"iteration": iteration + 1, **_means(recent)})
            recent = []
        on_step(iteration + 1, iterations, numbers)
        if time.monotonic() - written_s >= checkpoint_every_s:
            state = {"done": iteration + 1, "history": history, "recent": recent, "learner": learner.state()}
            write_checkpoint(folder, state)
            written_s = time.monotonic()
    return history


def close(folder: Path, history: list[dict[str, float]]) -> None:
    """Writes the history, once the learner's result is saved, and removes the checkpoint that led to it."""
    (folder / HISTORY_FILE).write_text(json.dumps(history) + "\n")
    (folder / CHECKPOINT_NAME).unlink(missing_ok=True)


def seed_of(*numbers: int) -> int:
    """One 32-bit seed of the round's seed and the numbers that say what for."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint32)[0])


def _means(recent: list[Numbers]) -> dict[str, float]:
    return {name: sum(numbers[name] for numbers in recent) / len(recent) for name in recent[0]}
