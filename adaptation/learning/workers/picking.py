"""Which regions of a domain's frames people are asked about: those worth most, of every class and drive."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from adaptation.learning.methods.ripu import AskedRegion, regions_for_people
from exchange.fleet.frames import CapturedFrame
from exchange.jobs.picking_order import PickingOrder
from exchange.label_space import IGNORE_ID
from exchange.regions.labels import paint
from exchange.regions.tasks import MOST_TASKS, Box, RegionTask

DISPUTE_SHARE = 0.05
"""Of the clicks, where some regions are shown to two people: kept for a third one where the two differ."""


@dataclass(frozen=True)
class Candidate:
    """A region that might be asked about."""

    sha256: str
    drive: str
    region: AskedRegion


def candidates(
    sha256: str,
    drive: str,
    image_HW3: NDArray[np.uint8],
    logits_KHW: Tensor,
    asked_before: Sequence[RegionTask],
    random_seed: int | None = None,
) -> list[Candidate]:
    """A frame's regions, those worth most first; none that was asked about before.

    Args:
        logits_KHW: at the frame's own size.
        random_seed: a random worth instead.
    """
    asked_HW = np.full(image_HW3.shape[:2], IGNORE_ID, np.uint8)
    for task in asked_before:
        paint(asked_HW, task, task.predicted)
    rng = None if random_seed is None else np.random.default_rng((random_seed, int(sha256[:8], 16)))
    regions = regions_for_people(image_HW3, logits_KHW, asked_HW != IGNORE_ID, rng)
    return [Candidate(sha256, drive, region) for region in regions]


def choose(found: Iterable[Candidate], count: int) -> list[Candidate]:
    """Goes round the predicted classes, and takes for each the region worth most; the largest worth comes first.

    The drives that have given the fewest regions come first. Without turns for the classes, clicks go to the few that a
    network is most unsure of, and a round that learns from these forgets the others.
    """
    by_class: dict[int, dict[str, list[Candidate]]] = {}
    for candidate in _by_worth(found)[::-1]:  # the largest last, where it is taken from
        by_class.setdefault(candidate.region.predicted, {}).setdefault(candidate.drive, []).append(candidate)
    turns = sorted(by_class.values(), key=lambda drives: max(each[-1].region.value for each in drives.values()))[::-1]
    of_drive: Counter[str] = Counter()
    chosen: list[Candidate] = []
    while turns:
        for drives in tuple(turns):
            if len(chosen) == count:
                return _by_worth(chosen)
            drive = min(drives, key=lambda name: (of_drive[name], -drives[name][-1].region.value))
            chosen.append(drives[drive].pop())
            of_drive[drive] += 1
            if not drives[drive]:
                del drives[drive]
            if not drives:
                turns.remove(drives)
    return _by_worth(chosen)


def choose_at_random(found: Iterable[Candidate], count: int) -> list[Candidate]:
    """By their worth, which is random."""
    return _by_worth(found)[:count]


def as_tasks(
    chosen: Sequence[Candidate], frames: Mapping[str, CapturedFrame], order: PickingOrder
) -> tuple[RegionTask, ...]:
    """As many tasks as the clicks allow, a part of them for two people."""
    tasks: list[RegionTask] = []
    clicks_left = min(order.clicks, MOST_TASKS)
    if order.double_share:
        clicks_left -= min(math.ceil(DISPUTE_SHARE * clicks_left), clicks_left - 1)
    for candidate in chosen:
        metadata, region = frames[candidate.sha256].metadata, candidate.region
        twice = _is_for_two(candidate, order.double_share)
        if clicks_left < 1 + twice:
            continue
        clicks_left -= 1 + twice
        tasks.append(
            RegionTask(
                number=len(tasks),
                frame_sha256=candidate.sha256,
                vehicle=metadata.vehicle,
                drive=metadata.drive,
                size_hw=metadata.size_hw,
                box=Box(region.top, region.bottom, region.left, region.right),
                runs=region.runs,
                predicted=region.predicted,
                model_version=order.version,
                score=region.value,
                people=2 if twice else 1,
            )
        )
    return tuple(tasks)


def _by_worth(found: Iterable[Candidate]) -> list[Candidate]:
    return sorted(found, key=lambda candidate: candidate.region.value, reverse=True)


def _is_for_two(candidate: Candidate, share: float) -> bool:
    """By chance, and the same whoever asks again."""
    region = candidate.region
    text = f"{candidate.sha256} {region.top} {region.left} {region.predicted}"
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) < share * 2**32
