"""A frame that cannot be read, inside a good shard: everything goes on without it, and it is told once."""

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from adaptation.cli.release_gating import find_verdict
from adaptation.console.views.frames import FrameShelf
from adaptation.control.learner.learner import Learner
from adaptation.control.releases.deciding import GateRefused
from adaptation.control.rounds.captured_frames import newest_of_each_drive
from adaptation.control.rounds.captured_snapshot import copy_captured
from adaptation.control.rounds.laid_out_frames import lay_out
from adaptation.control.rounds.left_out import LeftOutFrames
from adaptation.control.rounds.round_state import Phase, Request, read_round, round_key
from adaptation.control.settings import LearnerSettings, RolloutSettings
from adaptation.learning.rounds.snapshot import list_target
from exchange.jobs.job import Source
from exchange.jobs.round_files import TARGET_FOLDER
from exchange.plan.lease import holding
from exchange.plan.plan_changes import apply_change, served_with
from exchange.regions.batches import read_batches
from exchange.regions.tasks import RegionBatch
from exchange.registry import publish
from exchange.storage import StorageRoot
from exchange.storage.locations import FRAMES
from tests.service.learner_rig import BeatingGateway, leave_frames, phase_reached, until
from tests.service.unreadable_frames import DAMAGES, Damage, damage

DUSK, ROUND = "sim-dusk", "0123456789abcdef"
CUT = DAMAGES["cut before its end"]
each_damage = pytest.mark.parametrize("damaged", DAMAGES.values(), ids=DAMAGES.keys())


@contextmanager
def running(root: StorageRoot, source: Path, release: Path, folder: Path) -> Iterator[Learner]:
    settings = LearnerSettings(
        root=root.url, sources=(Source(folder=source),), release=release, run_dir=folder, fake=True, own_machine=True,
        rollout=RolloutSettings(shadow_s=0, bake_s=0, fewest_frames=1),
    )  # fmt: skip
    with holding(root, "test") as lease:
        learner = Learner(root, lease, settings, "test")
        learner.begin()
        thread = threading.Thread(target=learner.run)
        thread.start()
        try:
            yield learner
        finally:
            learner.stop()
            thread.join()


def counted(learner: Learner, what: str) -> float | None:
    registry = CollectorRegistry()
    registry.register(learner.metrics)
    return registry.get_sample_value(f"roadshift_unreadable_{what}_total", {"domain": DUSK})


def asked(learner: Learner) -> RegionBatch:
    """A batch for people, when it is picked."""
    batch = learner.ask_for_regions(DUSK, by="ann", clicks=20, minutes=0, double_share=0)

    def picked() -> RegionBatch | None:
        (found,) = (each for each in read_batches(learner.root, DUSK) if each.id == batch.id)
        return None if found.phase == "picking" else found

    return until(picked, "the picking")


def ended(learner: Learner, phase: Phase) -> str:
    started = learner.operations.start_round(Request(domain=DUSK, recipe="", seed=7), by="ann")
    until(phase_reached(learner.root, started.id, phase), f"{phase}")
    return started.id


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def told() -> Iterator[list[str]]:
    """What is logged of frames and shards that are left out."""
    logger, handler = logging.getLogger("adaptation.control.rounds.left_out"), Lines()
    logger.addHandler(handler)
    yield handler.lines
    logger.removeHandler(handler)


def test_rounds_and_labels_go_on_and_it_is_told_once(
    root: StorageRoot, source: Path, hollow: Path, tmp_path: Path, told: list[str]
) -> None:
    shard = damage(root, DUSK, CUT)
    before = root.read(shard)
    with running(root, source, hollow, tmp_path / "run") as learner:
        assert counted(learner, "frames") is None
        batch = asked(learner)
        assert (batch.phase, batch.reason) == ("open", "")
        with BeatingGateway(root):
            rounds = [ended(learner, Phase.PROMOTED) for _ in range(2)]
        shelf = FrameShelf(root, learner.left_out)
        views = [shelf.view(DUSK) for _ in range(3)]
        assert (counted(learner, "frames"), counted(learner, "shards")) == (1, None)
        assert learner.troubles == {}
    (line,) = told
    assert f"{shard}: 0-v1-5" in line
    for round_id in rounds:
        state = read_round(root, round_id)
        assert state.frames == 11
        assert "11 captured frames (1 more cannot be read)" in [event.text for event in state.events]
        assert json.loads(root.read(round_key(round_id, "report.json")).data) == {"frames": 11}
    for view in views:
        (why,) = view.left_out
        assert why.startswith(f"{shard}: 0-v1-5")
        assert [card.key for card in view.frames if card.unreadable] == ["0-v1-5"]
        assert len(view.frames) == 12
    assert root.read(shard) == before, "nothing is deleted for it"


def test_too_few_readable_frames_are_told_with_how_many_are_not(
    root: StorageRoot, source: Path, hollow: Path, tmp_path: Path
) -> None:
    damage(root, DUSK, CUT, places=(1, 3, 5, 7, 9))
    with running(root, source, hollow, tmp_path / "run") as learner:
        reason = read_round(root, ended(learner, Phase.FAILED)).reason
        assert "only 7 captured frames in domain sim-dusk, fewer than 8 (5 more cannot be read)" in reason
        assert asked(learner).phase == "open"
        damage(root, DUSK, DAMAGES["no bytes"], places=tuple(range(12)))
        failed = asked(learner)
        assert failed.phase == "failed"
        assert "no frame was captured in sim-dusk but" in failed.reason


@each_damage
def test_a_round_takes_the_readable_frames(root: StorageRoot, tmp_path: Path, damaged: Damage) -> None:
    shard = damage(root, DUSK, damaged)
    snapshot = copy_captured(root, DUSK, ROUND)
    assert snapshot.frames == 11
    (why,) = snapshot.left_out
    assert why.startswith(f"{shard}: 0-v1-5")
    lay_out(root, ROUND, snapshot, tmp_path)
    assert len(list_target(tmp_path / TARGET_FOLDER, "train")) == 11


@each_damage
def test_people_are_asked_about_the_readable_frames(root: StorageRoot, damaged: Damage) -> None:
    damage(root, DUSK, damaged)
    left_out = LeftOutFrames()
    found = newest_of_each_drive(root, DUSK, 64, left_out)
    assert sorted(frame.metadata.key for frame in found) == sorted(f"0-v1-{i}" for i in range(12) if i != 5)
    assert left_out.frames == {DUSK: 1}


@each_damage
def test_the_gate_measures_on_the_readable_frames(
    root: StorageRoot, hollow: Path, source: Path, tmp_path: Path, damaged: Damage
) -> None:
    entries = [publish(root, hollow, by="test", origin="added") for _ in range(2)]
    with holding(root, "test") as lease:
        apply_change(root, lease, lambda content: served_with(content, 1, domain=None))
    damage(root, DUSK, damaged, places=tuple(range(1, 12, 2)))
    damage(root, DUSK, DAMAGES["no bytes"], places=tuple(range(0, 12, 2)))
    with pytest.raises(GateRefused, match="no frame was captured in sim-dusk but 12 that cannot be read"):
        find_verdict(root, entries[1], DUSK, [source], None, cache=tmp_path / "cache", on_frame=lambda *_: None)


def test_a_frame_that_was_captured_twice_counts_once(root: StorageRoot, tmp_path: Path) -> None:
    leave_frames(root, DUSK, 12)
    snapshot = copy_captured(root, DUSK, ROUND)
    assert (snapshot.frames, snapshot.left_out) == (12, ())
    lay_out(root, ROUND, snapshot, tmp_path)
    assert len(list_target(tmp_path / TARGET_FOLDER, "train")) == 12


def test_a_frame_that_was_restored_is_used_again(root: StorageRoot) -> None:
    left_out = LeftOutFrames()
    whole = root.read(root.list_objects(f"{FRAMES}/{DUSK}")[-1].key).data
    shard = damage(root, DUSK, CUT)
    assert copy_captured(root, DUSK, ROUND, left_out).frames == 11
    root.write(shard, whole)
    assert copy_captured(root, DUSK, ROUND[::-1], left_out).frames == 12


def test_a_damaged_shard_is_told_once_and_other_frames_are_shown(root: StorageRoot, told: list[str]) -> None:
    shard = root.list_objects(f"{FRAMES}/{DUSK}")[-1].key
    root.write(shard, root.read(shard).data[:-1])
    leave_frames(root, DUSK, 8, seed=1)
    left_out = LeftOutFrames()
    shelf = FrameShelf(root, left_out)
    for attempt in range(3):
        assert copy_captured(root, DUSK, f"{attempt:016x}", left_out).frames == 8
        view = shelf.view(DUSK)
    assert len(told) == 1
    assert left_out.shards == {DUSK: 1}
    assert [card.key for card in view.frames] == [f"1-v1-{i}" for i in range(7, -1, -1)]
    assert len(view.left_out) == 1
    assert shard in view.left_out[0]
