"""Simulated annotators: they know the truth, say "unsure" where it is mixed, and make mistakes."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from adaptation.control.labeling.desk import LabelDesk
from exchange.label_space import IGNORE_ID, NUM_CLASSES
from exchange.regions.batches import read_batches
from exchange.regions.tasks import UNSURE
from exchange.storage import StorageRoot

NAMES = ("anna", "ben", "cleo")
"""The second sees what is shown to two, the third what those dispute."""
CLEAR_SHARE = 0.6
"""Of a region's pixels: below it no class is called its own."""


def label_all(
    root: StorageRoot, domain: str, truth: Mapping[str, NDArray[np.uint8]], mistakes: float, seed: int
) -> None:
    """Answers every region that is open, through the desk.

    Args:
        truth: train ids [H, W] of the frames, by their SHA-256.
        mistakes: share of the answers that are another class.
    """
    desk, rng = LabelDesk(root), np.random.default_rng((seed, len(read_batches(root, domain))))
    tasks = {(b.id, t.number): t for b in read_batches(root, domain) for t in b.tasks}
    for name in NAMES:
        while (leased := desk.lease(name, domain)) is not None:
            _, batch, number = leased.id.split(".")
            task = tasks[batch, int(number)]
            box = task.box
            inside = truth[task.frame_sha256][box.top : box.bottom, box.left : box.right]
            label = true_label(inside[task.segment_hw])
            if rng.random() < mistakes:
                label = int(rng.choice([k for k in range(NUM_CLASSES) if k != label]))
            desk.submit(leased.id, name, label)


def true_label(ids: NDArray[np.uint8]) -> int:
    """The class that most of a region has; UNSURE where none has a clear majority."""
    counts = np.bincount(ids[ids != IGNORE_ID], minlength=NUM_CLASSES)
    best = int(counts.argmax())
    return best if counts[best] >= CLEAR_SHARE * max(len(ids), 1) else UNSURE
