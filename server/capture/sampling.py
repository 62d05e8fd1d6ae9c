"""Which of a domain's served frames to keep in one interval: a fair sample, and a few that teach more than others."""

import random
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from exchange.fleet.frames import KeptFor
from exchange.label_space import NUM_CLASSES

UNIFORM_SLOTS = 24
LOW_CONFIDENCE_SLOTS = 4
RARE_CLASS_SLOTS = 4
SLOTS = UNIFORM_SLOTS + LOW_CONFIDENCE_SLOTS + RARE_CLASS_SLOTS

SHOWN_FROM = 1e-3
"""Share of a frame's pixels from which a class counts as shown."""
RARE_BELOW = 0.1
"""A class is rare while fewer of the domain's frames show it."""

_Ranking: TypeAlias = tuple[KeptFor, float, list[tuple[float, str]], int]


@dataclass(frozen=True)
class Kept:
    """A frame takes a place, and another one may lose it."""

    kept_for: KeptFor
    evicted: str | None


class DomainSample:
    """Offered every frame of a domain, in the order of serving.

    A frame is in the uniform sample with the same probability as every other of its interval (Vitter's algorithm R).
    One that is not may still take a place for low confidence, or for showing the rarest class.
    """

    def __init__(self, seed: int | None = None) -> None:
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._uniform: list[str] = []
        self._by_confidence: list[tuple[float, str]] = []
        self._by_rarity: list[tuple[float, str]] = []
        self._offered = 0
        self._frames = 0
        self._showing_K = np.zeros(NUM_CLASSES)

    def begin_interval(self) -> None:
        """What was kept is gone; how often each class is shown stays known."""
        self._uniform, self._by_confidence, self._by_rarity, self._offered = [], [], [], 0

    def offer(self, key: str, mean_confidence: float, class_fractions_K: NDArray[np.float32]) -> Kept | None:
        """What becomes of the frame; None where it is not kept."""
        self._offered += 1
        rarity = self._rarity(class_fractions_K)
        if len(self._uniform) < UNIFORM_SLOTS:
            self._uniform.append(key)
            return Kept("uniform", None)
        place = self._random.randrange(self._offered)
        if place < UNIFORM_SLOTS:
            evicted, self._uniform[place] = self._uniform[place], key
            return Kept("uniform", evicted)
        by_confidence: _Ranking = ("low confidence", 1 - mean_confidence, self._by_confidence, LOW_CONFIDENCE_SLOTS)
        by_rarity: _Ranking = ("rare class", rarity, self._by_rarity, RARE_CLASS_SLOTS)
        for kept_for, score, best, slots in (by_confidence, by_rarity):
            if score > 0 and (len(best) < slots or score > best[0][0]):
                best.append((score, key))
                best.sort()
                return Kept(kept_for, best.pop(0)[1] if len(best) > slots else None)
        return None

    def _rarity(self, class_fractions_K: NDArray[np.float32]) -> float:
        """1 minus the share of frames that show the rarest class shown here; 0 where none is rare."""
        shown_K = class_fractions_K >= SHOWN_FROM
        self._frames += 1
        self._showing_K += shown_K
        rarest = float((self._showing_K[shown_K] / self._frames).min(initial=1.0))
        return 1 - rarest if rarest < RARE_BELOW else 0.0
