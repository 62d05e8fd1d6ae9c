"""What there is to label for one person, and why where there is nothing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adaptation.console.left_lying import LeftLying
from adaptation.console.views.labels import labels_view, outlook, still_leased, why_none
from adaptation.control.labeling.desk import LabelDesk
from exchange.regions.batches import create_batch
from exchange.regions.tasks import RegionBatch, new_batch_id
from exchange.storage import StorageRoot, open_root
from tests.console.deployment import leave_captured, leave_regions


@pytest.fixture
def root(tmp_path: Path) -> StorageRoot:
    return open_root(f"file://{tmp_path}/root")


@pytest.fixture
def desk(root: StorageRoot) -> LabelDesk:
    return LabelDesk(root)


def ask(root: StorageRoot, regions: int) -> RegionBatch:
    return leave_regions(root, leave_captured(root, "sim-dusk", 1), regions)


def ask_in_vain(root: StorageRoot, **changes: object) -> None:
    now = datetime.now(UTC)
    batch = RegionBatch(id=new_batch_id(now, "000002"), domain="sim-dusk", asked_by="ann", asked_at=now, clicks=5)
    create_batch(root, batch.model_copy(update=changes))


def said(desk: LabelDesk, annotator: str = "ann", domain: str = "") -> str:
    return " ".join(why_none(outlook(desk, annotator, domain), domain))


def test_labels_with_the_open_ones_first(root: StorageRoot, desk: LabelDesk) -> None:
    ask(root, 4)
    task = desk.lease("ann")
    assert task is not None
    desk.submit(task.id, "ann", 0)
    view = labels_view(desk, "sim-dusk")
    assert [progress.clicks_used for progress in view.domains] == [1]
    assert [each.state for each in view.queue] == ["waiting"] * 3 + ["labelled"]
    assert labels_view(desk, "sim-fog").domain == "sim-dusk"


def test_nobody_was_asked(desk: LabelDesk) -> None:
    assert said(desk).startswith("Nobody was asked for labels yet. An operator has the learner choose regions:")


def test_nobody_was_asked_in_this_domain(root: StorageRoot, desk: LabelDesk) -> None:
    ask(root, 2)
    assert said(desk, domain="sim-fog").startswith("Nobody was asked for labels in 'sim-fog'.")
    assert outlook(desk, "ann", "sim-dusk").left == 2


def test_the_learner_still_chooses_or_could_not(root: StorageRoot, desk: LabelDesk) -> None:
    ask_in_vain(root)
    assert said(desk).startswith("The learner is choosing regions. They come here by themselves")


def test_the_learner_could_not_choose(root: StorageRoot, desk: LabelDesk) -> None:
    ask_in_vain(root, phase="failed", reason="no frames were captured")
    assert said(desk).startswith("The learner could not choose regions: no frames were captured An operator")


def test_regions_are_out_with_others_or_in_another_page(root: StorageRoot, desk: LabelDesk) -> None:
    ask(root, 3)
    taken = [desk.lease(name) for name in ("ben", "ben", "ann")]
    assert said(desk, "eve").startswith("3 regions are out with others. What they do not answer within 5 minutes comes")
    assert said(desk, "ann").startswith("1 region is yours already, in another page or one that was closed.")
    assert (outlook(desk, "ann", "").left, outlook(desk, "ben", "").left) == (1, 2)
    assert taken[2] is not None
    desk.submit(taken[2].id, "ann", 3)
    assert said(desk, "ann").startswith("2 regions are out with others.")


def test_all_are_answered(root: StorageRoot, desk: LabelDesk) -> None:
    ask(root, 1)
    task = desk.lease("ann")
    assert task is not None
    desk.skip(task.id, "ann")
    assert said(desk).startswith("Everything is answered: 1 region. Thank you.")


def test_somebody_else_is_to_answer_too(root: StorageRoot, desk: LabelDesk) -> None:
    batch = ask(root, 1)
    twice = tuple(task.model_copy(update={"people": 2}) for task in batch.tasks)
    create_batch(root, batch.model_copy(update={"id": new_batch_id(batch.asked_at, "000003"), "tasks": twice}))
    for _ in range(2):
        task = desk.lease("ann")
        assert task is not None
        desk.submit(task.id, "ann", 2)
    assert said(desk).startswith("1 region is for somebody else, too.")
    assert outlook(desk, "ben", "").left == 1


def test_what_a_closed_page_had_taken_comes_first_the_next_time(root: StorageRoot, desk: LabelDesk) -> None:
    ask(root, 2)
    task = desk.lease("ann")
    assert task is not None
    left = LeftLying()
    left.leave("ann", replace(task, leased_until=datetime.now(UTC) - timedelta(seconds=1)))
    left.leave("ann", task)
    assert left.take("ben", "") is None
    assert left.take("ann", "sim-fog") is None
    assert left.take("ann", "sim-dusk") == task
    assert left.take("ann", "") is None, "what was given is not given again, nor what is others' by now"


def test_who_answered_or_lost_a_region_holds_it_no_more(root: StorageRoot) -> None:
    ask(root, 3)
    clock = [datetime.now(UTC)]
    desk = LabelDesk(root, clock=lambda: clock[0])
    taken = [task for task in (desk.lease(name) for name in ("ann", "ann", "ben")) if task is not None]
    assert still_leased(desk, "ann", ["sim-dusk"]) == {taken[0].id, taken[1].id}
    desk.submit(taken[0].id, "ann", 13)
    assert still_leased(desk, "ann", ["sim-dusk"]) == {taken[1].id}
    clock[0] = taken[1].leased_until
    assert still_leased(desk, "ann", ["sim-dusk"]) == set()
