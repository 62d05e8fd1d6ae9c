"""Regions are given out once, come back when their time is over, and count when enough people have answered."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from adaptation.control.labeling.desk import LEASE_S, MOST_HELD, LabelDesk
from adaptation.control.labeling.leased_tasks import BadLabel, LeasedTask, LeaseGone, NoSuchTask
from exchange.fleet.frames import encode_members, join_shard
from exchange.regions.batches import read_batches
from exchange.regions.segments import segment_of
from exchange.regions.tasks import UNSURE
from exchange.storage import StorageRoot, open_root
from exchange.storage.locations import region_frame_key
from exchange.storage.records import RecordTooNew
from tests.annotation.asked_regions import (
    BUILDING,
    CAR,
    ROAD,
    SIZE_HW,
    Clock,
    asked_frame,
    frame_where,
    leave_batch,
    sha256_of,
)


@pytest.fixture
def desk(root: StorageRoot, clock: Clock) -> LabelDesk:
    return LabelDesk(root, clock=clock)


def leased(desk: LabelDesk, annotator: str) -> LeasedTask:
    task = desk.lease(annotator)
    assert task is not None
    return task


def test_the_largest_score_is_given_first_and_each_region_once(desk: LabelDesk, root: StorageRoot) -> None:
    leave_batch(root, [asked_frame(0)], 3)
    tasks = [leased(desk, name) for name in ("anna", "ben", "anna")]
    assert [task.score for task in tasks] == sorted((task.score for task in tasks), reverse=True)
    assert len({task.id for task in tasks}) == 3
    assert desk.lease("ben") is None
    progress = desk.progress("sim-dusk")
    assert (progress.leased, progress.waiting, progress.clicks_left) == (3, 0, 3)


def test_an_answer_counts_and_is_timed(desk: LabelDesk, root: StorageRoot, clock: Clock) -> None:
    leave_batch(root, [asked_frame(0)], 2)
    first, ahead = leased(desk, "anna"), leased(desk, "anna")
    clock.forward(4)
    submission = desk.submit(first.id, "anna", CAR)
    assert (submission.state, submission.decided, submission.agreed) == ("labelled", CAR, None)
    clock.forward(3)
    desk.submit(ahead.id, "anna", UNSURE)
    progress = desk.progress("sim-dusk")
    assert (progress.labelled, progress.unsure, progress.clicks_used, progress.clicks_left) == (2, 1, 2, 0)
    assert progress.minutes == pytest.approx(7 / 60)  # what was fetched ahead is not counted twice
    assert progress.seconds_a_click == pytest.approx(3.5)
    assert [summary.label for summary in desk.queue("sim-dusk")] == [CAR, UNSURE]


def test_a_lease_runs_out_and_the_region_goes_to_somebody_else(
    desk: LabelDesk, root: StorageRoot, clock: Clock
) -> None:
    leave_batch(root, [asked_frame(0)], 1)
    task = leased(desk, "anna")
    clock.forward(LEASE_S - 1)
    assert desk.lease("ben") is None
    clock.forward(2)
    assert leased(desk, "ben").id == task.id
    with pytest.raises(LeaseGone, match="lease one"):
        desk.submit(task.id, "anna", ROAD)
    assert desk.submit(task.id, "ben", ROAD).state == "labelled"


def test_a_late_answer_counts_while_nobody_else_has_the_region(
    desk: LabelDesk, root: StorageRoot, clock: Clock
) -> None:
    leave_batch(root, [asked_frame(0)], 1)
    task = leased(desk, "anna")
    clock.forward(LEASE_S + 60)
    assert desk.progress("sim-dusk").waiting == 1
    assert desk.submit(task.id, "anna", ROAD).state == "labelled"


def test_the_same_answer_again_changes_nothing_and_another_is_refused(desk: LabelDesk, root: StorageRoot) -> None:
    leave_batch(root, [asked_frame(0)], 1)
    task = leased(desk, "anna")
    assert desk.submit(task.id, "anna", ROAD) == desk.submit(task.id, "anna", ROAD)
    with pytest.raises(LeaseGone):
        desk.submit(task.id, "anna", CAR)
    assert desk.progress("sim-dusk").clicks_used == 1


def test_two_people_answer_and_where_they_differ_a_third_decides(desk: LabelDesk, root: StorageRoot) -> None:
    leave_batch(root, [asked_frame(0)], 2, people=2, clicks=5)
    for index, second in enumerate((ROAD, CAR)):
        tasks = [leased(desk, name) for name in ("anna", "ben")]
        assert tasks[0].id == tasks[1].id
        waits = desk.submit(tasks[0].id, "anna", ROAD)
        assert (waits.state, waits.decided) == ("leased", None)
        both = desk.submit(tasks[1].id, "ben", second)
        assert both.agreed == (second == ROAD)
        assert both.decided == (ROAD if index == 0 else None)
    assert desk.progress("sim-dusk").disputed == 1
    assert desk.lease("anna") is None
    third = leased(desk, "cleo")
    assert desk.submit(third.id, "cleo", CAR).decided == CAR
    progress = desk.progress("sim-dusk")
    assert (progress.agreement, progress.agreed_of, progress.disputed, progress.clicks_budget) == (0.5, 2, 0, 5)


def test_a_dispute_that_no_click_is_left_for_leaves_no_label_until_it_is_taken_back(
    desk: LabelDesk, root: StorageRoot
) -> None:
    leave_batch(root, [asked_frame(0)], 1, people=2, clicks=2)
    task = leased(desk, "anna")
    desk.submit(task.id, "anna", ROAD)
    submission = desk.submit(leased(desk, "ben").id, "ben", CAR)
    assert (submission.state, submission.agreed, submission.decided) == ("labelled", False, UNSURE)
    assert desk.lease("cleo") is None
    progress = desk.progress("sim-dusk")
    assert (progress.clicks_used, progress.clicks_left, progress.disputed) == (2, 0, 0)
    assert desk.undo("ben") is not None
    assert desk.submit(task.id, "ben", ROAD).decided == ROAD


def test_three_who_say_three_things_leave_no_label(desk: LabelDesk, root: StorageRoot) -> None:
    leave_batch(root, [asked_frame(0)], 1, people=2, clicks=3)
    for name, label in (("anna", ROAD), ("ben", CAR), ("cleo", BUILDING)):
        submission = desk.submit(leased(desk, name).id, name, label)
    assert submission.decided == UNSURE
    assert desk.progress("sim-dusk").unsure == 1


def test_a_skipped_region_is_nobodys_until_it_is_undone(desk: LabelDesk, root: StorageRoot) -> None:
    leave_batch(root, [asked_frame(0)], 1)
    task = leased(desk, "anna")
    desk.skip(task.id, "anna", "a face")
    assert desk.progress("sim-dusk").skipped == 1
    assert desk.lease("ben") is None
    again = desk.undo("anna")
    assert again is not None
    assert again.id == task.id
    assert desk.progress("sim-dusk").leased == 1


def test_undo_goes_back_answer_by_answer(desk: LabelDesk, root: StorageRoot, clock: Clock) -> None:
    leave_batch(root, [asked_frame(0)], 3)
    tasks = []
    for label in (ROAD, CAR):
        tasks.append(leased(desk, "anna"))
        clock.forward(1)
        desk.submit(tasks[-1].id, "anna", label)
    for task in reversed(tasks):
        again = desk.undo("anna")
        assert again is not None
        assert again.id == task.id
    assert desk.undo("anna") is None
    assert desk.progress("sim-dusk").labelled == 0
    assert desk.submit(tasks[0].id, "anna", CAR).decided == CAR


def test_nobody_hoards_regions(desk: LabelDesk, root: StorageRoot) -> None:
    leave_batch(root, [asked_frame(0)], 8)
    ids = [leased(desk, "anna").id for _ in range(2 * MOST_HELD)]
    assert len(set(ids)) == MOST_HELD


def test_two_desks_on_one_root_give_no_region_twice(root_url: str) -> None:
    root = open_root(root_url)
    leave_batch(root, [asked_frame(0)], 24)

    def label_all(name: str) -> list[str]:
        desk, done = LabelDesk(root), list[str]()
        while (task := desk.lease(name)) is not None:
            desk.submit(task.id, name, ROAD)
            done.append(task.id)
        return done

    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(label_all, ("anna", "ben")))
    assert sorted(both[0] + both[1]) == sorted({*both[0], *both[1]})
    assert len(both[0]) + len(both[1]) == 24
    (batch,) = read_batches(root, "sim-dusk")
    assert all(task.label == ROAD for task in batch.tasks)


def test_a_person_sees_the_region_with_what_is_around_it(desk: LabelDesk, root: StorageRoot) -> None:
    frame = asked_frame(0)
    leave_batch(root, [frame], 2)
    task = leased(desk, "anna")
    seen = desk.surroundings(task)
    rgb_HW3, box, segment_HW = seen
    assert rgb_HW3.shape == (*segment_HW.shape, 3)
    image_HW3 = np.frombuffer(frame.image, np.uint8).reshape(*SIZE_HW, 3)
    inside = np.s_[box.top : box.bottom, box.left : box.right]
    in_frame = np.s_[task.box.top : task.box.bottom, task.box.left : task.box.right]
    assert np.array_equal(rgb_HW3[inside], image_HW3[in_frame])
    assert segment_HW.sum() == 32
    assert np.array_equal(segment_HW[inside], segment_of(task.runs, (4, 8)))


def test_held_out_labels_are_counted(desk: LabelDesk, root: StorageRoot) -> None:
    leave_batch(root, [frame_where(held_out=False), frame_where(held_out=True)], 2)
    for _ in range(4):
        task = leased(desk, "anna")
        desk.submit(task.id, "anna", CAR)
    progress = desk.progress("sim-dusk")
    assert (progress.held_out, progress.sentinel_share) == (2, 0.5)


@pytest.mark.parametrize(
    ("task_id", "annotator", "label", "error"),
    [
        ("nonsense", "anna", ROAD, NoSuchTask),
        ("sim-dusk.20261123T090000Z-000000.9", "anna", ROAD, NoSuchTask),
        ("sim-dusk.20261123T090000Z-ffffff.0", "anna", ROAD, NoSuchTask),
        ("sim-dusk.20261123T090000Z-000000.0", "anna", 19, BadLabel),
        ("sim-dusk.20261123T090000Z-000000.0", "", ROAD, BadLabel),
        ("sim-dusk.20261123T090000Z-000000.0", "anna", ROAD, LeaseGone),
    ],
)
def test_what_cannot_be_is_refused(
    desk: LabelDesk, root: StorageRoot, task_id: str, annotator: str, label: int, error: type[Exception]
) -> None:
    leave_batch(root, [asked_frame(0)], 1)
    with pytest.raises(error):
        desk.submit(task_id, annotator, label)


def test_a_domain_without_regions_has_none(desk: LabelDesk) -> None:
    assert desk.lease("anna") is None
    assert desk.lease("anna", "sim-dusk") is None
    assert desk.undo("anna") is None
    assert desk.progress("sim-dusk").clicks_budget == 0
    with pytest.raises(BadLabel, match="domain"):
        desk.progress("No Domain")


@pytest.mark.parametrize("is_whole_shard", [True, False])
def test_a_region_whose_frame_cannot_be_read_holds_nobody_up(
    desk: LabelDesk, root: StorageRoot, is_whole_shard: bool
) -> None:
    bad, good = asked_frame(0), asked_frame(1)
    leave_batch(root, [bad, good], 1)
    damaged = join_shard([encode_members(replace(bad, image=b""))])
    root.write(region_frame_key("sim-dusk", sha256_of(bad), 1), damaged if is_whole_shard else damaged[:-1])
    first, second = leased(desk, "anna"), leased(desk, "anna")
    (stuck, fine) = (first, second) if first.frame_sha256 == sha256_of(bad) else (second, first)
    with pytest.raises(NoSuchTask, match="cannot be read: lease another one"):
        desk.surroundings(stuck)
    assert desk.surroundings(fine).rgb_HW3.any()
    assert desk.lease("ben") is None
    progress = desk.progress("sim-dusk")
    assert (progress.skipped, progress.leased, progress.waiting) == (1, 1, 0)
    assert desk.undo("anna") is None, "nobody skipped it"


def test_a_frame_that_a_later_release_wrote_stays_for_an_upgraded_learner(desk: LabelDesk, root: StorageRoot) -> None:
    frame = asked_frame(0)
    leave_batch(root, [frame], 1)
    key = region_frame_key("sim-dusk", sha256_of(frame), 1)
    later = root.read(key).data.replace(b'"format": 1', b'"format": 2').replace(b'"format":1', b'"format":2')
    root.write(key, later)
    with pytest.raises(RecordTooNew, match="upgrade this process"):
        desk.surroundings(leased(desk, "anna"))
    assert desk.progress("sim-dusk").skipped == 0
