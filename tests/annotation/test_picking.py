"""What people are asked about: the best boxes, from every drive, within the clicks, and nothing twice."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from adaptation.learning.methods.ripu import AskedRegion
from adaptation.learning.workers.pick_regions import PickingFailed, pick_regions
from adaptation.learning.workers.picking import Candidate, as_tasks, candidates, choose, choose_at_random
from exchange.fleet.frames import CapturedFrame, encode_members, join_shard, read_shard
from exchange.jobs.picking_order import FRAMES_FOLDER, ORDER_FILE, PICKED_FILE, PICKED_FOLDER, Picked
from exchange.jobs.picking_order import PickingOrder as Order
from exchange.regions.tasks import Box, RegionTask
from tests.annotation.asked_regions import BUILDING, CAR, ROAD, SIZE_HW, asked_frame, sha256_of

SHA = "ab" * 32


def order(**changes: object) -> Order:
    plain = Order(release=None, version=3, clicks=12, random_seed=None, double_share=0.0, asked_before={})
    return plain.model_copy(update=changes)


def two_halves() -> torch.Tensor:
    """Building over road, unsure where they meet."""
    logits_KHW = torch.zeros(19, *SIZE_HW)
    distance_H = torch.linspace(-8, 8, SIZE_HW[0])
    logits_KHW[ROAD] = distance_H[:, None]
    logits_KHW[BUILDING] = -distance_H[:, None]
    return logits_KHW


def noise() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (*SIZE_HW, 3), dtype=np.uint8)


def found_in(before: Sequence[RegionTask] = (), seed: int | None = None) -> list[Candidate]:
    return candidates(SHA, "d", noise(), two_halves(), before, seed)


def tasks_of(found: list[Candidate]) -> tuple[RegionTask, ...]:
    return as_tasks(found, {SHA: asked_frame(0)}, order(clicks=len(found)))


def test_regions_lie_where_the_network_is_torn() -> None:
    for each in found_in()[:4]:
        assert each.region.top - 4 <= SIZE_HW[0] // 2 <= each.region.bottom + 4


def test_what_was_asked_before_is_not_asked_again() -> None:
    first = found_in()[:8]
    again = found_in(tasks_of(first))
    assert len(again) == len(found_in()) - 8
    assert not {each.region for each in again} & {each.region for each in first}


def test_random_regions_are_the_same_for_the_same_seed_and_all_over_the_frame() -> None:
    one, same, other = ([each.region for each in found_in(seed=seed)[:16]] for seed in (1, 1, 2))
    assert one == same != other
    assert min(each.top for each in one) < SIZE_HW[0] // 4 < 3 * SIZE_HW[0] // 4 < max(each.bottom for each in one)


def candidate(drive: str, value: float, predicted: int = ROAD) -> Candidate:
    return Candidate(SHA, drive, AskedRegion(0, 4, 0, 4, (0, 16), predicted, value))


def test_every_drive_has_its_turn_and_the_largest_come_first() -> None:
    found = [candidate("a", value) for value in (0.9, 0.8, 0.7)] + [candidate("b", 0.2), candidate("b", 0.1)]
    told = [(each.drive, each.region.value) for each in choose(found, 4)]
    assert told == [("a", 0.9), ("a", 0.8), ("b", 0.2), ("b", 0.1)]
    assert [each.drive for each in choose(found, 1)] == ["a"]
    assert len(choose(found, 9)) == 5


def test_every_class_has_its_turn() -> None:
    found = [candidate("a", value / 10, CAR) for value in range(2, 10)] + [candidate("a", 0.1, ROAD)]
    assert [each.region.predicted for each in choose(found, 3)] == [CAR, CAR, ROAD]


def test_random_ones_go_by_their_worth_alone() -> None:
    found = [candidate("a", value / 10, CAR) for value in range(2, 10)] + [candidate("a", 0.1, ROAD)]
    assert [each.region.value for each in choose_at_random(found, 2)] == [0.9, 0.8]


def test_a_second_person_costs_a_click_and_some_are_kept_for_disputes() -> None:
    frames = {SHA: asked_frame(0)}
    found = [candidate("a", 1 / (i + 1)) for i in range(40)]
    assert len(as_tasks(found, frames, order(clicks=12, double_share=1.0))) == 5
    assert len(as_tasks(found, frames, order(clicks=1, double_share=0.2))) == 1
    assert len(as_tasks(found, frames, order(clicks=40, double_share=1.0))) == 19
    some = as_tasks(found, frames, order(clicks=20, double_share=0.0))
    assert [task.people for task in some] == [1] * 20


def lay_out(folder: Path, frames: list[CapturedFrame], wanted: Order) -> None:
    (folder / FRAMES_FOLDER).mkdir(parents=True)
    for frame in frames:
        (folder / FRAMES_FOLDER / f"{sha256_of(frame)}.tar").write_bytes(join_shard([encode_members(frame)]))
    (folder / ORDER_FILE).write_bytes(wanted.encode())


def test_a_worker_leaves_regions_and_frames_as_the_version_sees_them(tmp_path: Path) -> None:
    frames = [asked_frame(0), asked_frame(1, vehicle="v2")]
    lay_out(tmp_path, frames, order())
    pick_regions(tmp_path)
    tasks = Picked.decode((tmp_path / PICKED_FILE).read_bytes(), PICKED_FILE).tasks
    assert len(tasks) == 12
    assert {task.vehicle for task in tasks} == {"v1", "v2"}
    assert {task.model_version for task in tasks} == {3}
    assert [task.score for task in tasks] == sorted((task.score for task in tasks), reverse=True)
    for task in tasks:
        path = tmp_path / PICKED_FOLDER / f"{task.frame_sha256}.tar"
        (kept,) = read_shard(path.read_bytes(), path.name)
        assert kept.metadata.model_version == 3
        assert task.segment_hw.any()


def test_frames_that_were_asked_about_everywhere_are_told(tmp_path: Path) -> None:
    frame = asked_frame(0)
    (task, *_) = tasks_of(found_in())
    whole = task.model_copy(update={"box": Box(0, SIZE_HW[0], 0, SIZE_HW[1]), "runs": (0, SIZE_HW[0] * SIZE_HW[1])})
    lay_out(tmp_path, [frame], order(asked_before={sha256_of(frame): (whole,)}))
    with pytest.raises(PickingFailed, match="ask again"):
        pick_regions(tmp_path)
