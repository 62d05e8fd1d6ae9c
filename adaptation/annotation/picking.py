"""Which regions of a domain's frames people are asked about: the most uncertain for a click, of every class and drive.

RIPU multiplies uncertainty by impurity, for it labels every pixel of a region. Here a click names a segment of one
predicted class, a box costs as many clicks as it has segments, and pure boxes that the network is unsure of teach most.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from adaptation.annotation.picking_order import PickingOrder
from adaptation.region_selection import AskedRegion, radius_for_people, region_scores, select_regions_for_people
from adaptation.region_selection.for_people import FEWEST_SEGMENT_SHARE
from adaptation.region_selection.scores import classes_per_region
from exchange.frames import CapturedFrame
from exchange.regions import MOST_TASKS, Box, RegionTask

FEWEST_A_FRAME = 24
"""Clicks that a frame may always take; more where the budget is more than so many for each frame."""


@dataclass(frozen=True)
class Candidate:
    """A box that might be asked about; a click for each of its segments."""

    sha256: str
    drive: str
    region: AskedRegion
    value: float
    """For a click."""

    @property
    def clicks(self) -> int:
        return len(self.region.segments)


def candidates(
    sha256: str,
    drive: str,
    logits_KHW: Tensor,
    asked_before: Sequence[Box],
    clicks: int,
    random_seed: int | None = None,
) -> list[Candidate]:
    """A frame's best boxes for so many clicks, which overlap neither each other nor those of before.

    Args:
        logits_KHW: at the frame's own size.
        random_seed: takes boxes at random places instead.
    """
    predicted_HW = logits_KHW.argmax(dim=0).numpy().astype(np.uint8)
    size_hw = (predicted_HW.shape[0], predicted_HW.shape[1])
    radius = radius_for_people(size_hw[0])
    if random_seed is None:
        value_HW = region_scores(logits_KHW, radius).uncertainty_HW.numpy()
    else:
        rng = np.random.default_rng((random_seed, int(sha256[:8], 16)))
        clicks_HW = classes_per_region(predicted_HW, radius, FEWEST_SEGMENT_SHARE).clip(1)
        value_HW = clicks_HW * rng.random(size_hw, dtype=np.float32)  # not for a click: each place is as likely
    selection = select_regions_for_people(
        value_HW, predicted_HW, _around(asked_before, size_hw, radius), clicks, radius
    )
    pairs = zip(selection.regions, selection.values, strict=True)
    return [Candidate(sha256, drive, region, value) for region, value in pairs]


def choose(found: Iterable[Candidate], clicks: int) -> list[Candidate]:
    """Goes round the predicted classes, and takes for each the best box that holds it and fits the clicks.

    The drives that have given the fewest boxes come first. Without turns for the classes, clicks go to the few that a
    network is most unsure of, and a round that learns from these forgets the others.
    """
    left = sorted(found, key=lambda candidate: candidate.value, reverse=True)
    classes = list(dict.fromkeys(train_id for candidate in left for train_id in candidate.region.segments))
    of_drive: Counter[str] = Counter()
    chosen: list[Candidate] = []
    while classes:
        for train_id in tuple(classes):
            fitting = [each for each in left if train_id in each.region.segments and each.clicks <= clicks]
            if not fitting:
                classes.remove(train_id)
                continue
            best = min(fitting, key=lambda each: of_drive[each.drive])
            left.remove(best)
            chosen.append(best)
            of_drive[best.drive] += 1
            clicks -= best.clicks
    return sorted(chosen, key=lambda candidate: candidate.value, reverse=True)


def choose_at_random(found: Iterable[Candidate], clicks: int) -> list[Candidate]:
    """Takes boxes by their values, which are random, as long as they fit the clicks."""
    chosen = []
    for candidate in sorted(found, key=lambda candidate: candidate.value, reverse=True):
        if candidate.clicks <= clicks:
            chosen.append(candidate)
            clicks -= candidate.clicks
    return chosen


def clicks_a_frame(clicks: int, frames: int) -> int:
    return max(FEWEST_A_FRAME, -(-2 * clicks // max(frames, 1)))


def as_tasks(
    chosen: Sequence[Candidate], frames: Mapping[str, CapturedFrame], order: PickingOrder
) -> tuple[RegionTask, ...]:
    """A task for each segment, the first ones of two people; as many as the clicks allow."""
    tasks: list[RegionTask] = []
    clicks_left = min(order.clicks, MOST_TASKS)
    for candidate in chosen:
        metadata, region = frames[candidate.sha256].metadata, candidate.region
        for predicted in region.segments:
            twice = _is_for_two(candidate, predicted, order.double_share)
            if clicks_left < 1 + twice:
                return tuple(tasks)
            clicks_left -= 1 + twice
            tasks.append(
                RegionTask(
                    number=len(tasks),
                    frame_sha256=candidate.sha256,
                    vehicle=metadata.vehicle,
                    drive=metadata.drive,
                    size_hw=metadata.size_hw,
                    box=Box(region.top, region.bottom, region.left, region.right),
                    predicted=predicted,
                    model_version=order.version,
                    score=candidate.value,
                    people=2 if twice else 1,
                )
            )
    return tuple(tasks)


def _is_for_two(candidate: Candidate, predicted: int, share: float) -> bool:
    """By chance, and the same whoever asks again."""
    region = candidate.region
    text = f"{candidate.sha256} {region.top} {region.left} {predicted}"
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) < share * 2**32


def _around(boxes: Sequence[Box], size_hw: tuple[int, int], radius: int) -> NDArray[np.bool_]:
    """Where no new box may be centred."""
    active_HW = np.zeros(size_hw, np.bool_)
    for box in boxes:
        top, left = max(box.top - radius, 0), max(box.left - radius, 0)
        active_HW[top : box.bottom + radius, left : box.right + radius] = True
    return active_HW
