"""A root that a newer minor has written is worked with, and what this version does not know of it stays."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import grpc
import numpy as np
import pytest
from roadshift.v1 import annotation_pb2 as annotation
from roadshift.v1 import annotation_pb2_grpc as annotation_grpc
from roadshift.v1 import operations_pb2 as operations
from roadshift.v1 import segmentation_pb2_grpc as pb_grpc

from adaptation.control.learner.triggers import TriggerBook, TriggerRule, set_trigger
from adaptation.control.prior.deciding import freeze_prior, reset_prior
from adaptation.control.rounds.round_state import RoundState, change_round
from exchange.erasing import erase_stored
from exchange.fleet.frames import encode_members, join_shard, read_shard
from exchange.fleet.presence import PresenceRows
from exchange.plan.lease import holding
from exchange.plan.plan_changes import PlanContent, apply_change, rolled_back, with_candidate
from exchange.plan.priors import PriorRecord
from exchange.plan.serving_plan import ServingPlan, read_plan
from exchange.regions.batches import change_batch, read_batches
from exchange.regions.tasks import Opinion, RegionBatch
from exchange.registry import fetch_release
from exchange.registry.pins import Pins, set_pin
from exchange.storage import StorageRoot, open_root
from exchange.storage.records import Record
from tests.monitoring.deployment import running_gateway
from tests.rounds.conftest import write_frames
from tests.service.learner_rig import LearnerProcess, leave_frames, make_hollow_release, phase_reached, until
from tests.service.test_fakes_together import ROLLOUT, drive
from tests.upgrade.fields_of_0_1 import FIELDS
from tests.upgrade.kinds import objects_of, records_of
from tests.upgrade.newer_minor import ADDED, add_newer_fields, lacking
from tests.upgrade.write_root import DOMAIN

RELEASE_ROOT = Path(__file__).parent / "roots" / "0.1"
ROUND_KEY = "rounds/92a66399d8114b4b/state.json"
BATCH_KEY = "regions/sim-day/batches/20261201T031624Z-000001.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = shutil.copytree(RELEASE_ROOT, tmp_path / "root")
    add_newer_fields(folder)
    return folder


@pytest.fixture
def root(folder: Path) -> StorageRoot:
    return open_root(str(folder))


def change_plan_twice(root: StorageRoot) -> None:
    with holding(root, "test") as lease:
        apply_change(root, lease, lambda content: rolled_back(content, domain=DOMAIN))
        for share in (0.1, 0.2):
            apply_change(root, lease, lambda now, share=share: _tried(now, share))


def _tried(content: PlanContent | None, share: float) -> PlanContent:
    return with_candidate(content, 2, domain=DOMAIN, share=share, shadow_share=0.0)


def answer(root: StorageRoot) -> None:
    def answered(batch: RegionBatch) -> RegionBatch:
        task = batch.tasks[2]
        opinion = Opinion(annotator="ada", label=1, at=datetime.now(UTC))
        return batch.with_task(task.model_copy(update={"opinions": (*task.opinions, opinion)}))

    change_batch(root, "sim-day", read_batches(root, "sim-day")[0].id, answered)


CHANGES: dict[str, tuple[str, type[Record], Callable[[StorageRoot], object], list[str]]] = {
    "plan": ("serving_plan.json", ServingPlan, change_plan_twice, ["Candidate"]),
    "pin": ("pins.json", Pins, lambda root: set_pin(root, 2, pinned=True), []),
    "trigger": ("triggers.json", TriggerBook, lambda root: set_trigger(root, "sim-day", TriggerRule(drift=True)), []),
    "another domain's trigger": (
        "triggers.json", TriggerBook,
        lambda root: set_trigger(root, "sim-dusk", TriggerRule(drift=True)), ["TriggerRule"],
    ),
    "freeze": (f"priors/{DOMAIN}.json", PriorRecord, lambda root: freeze_prior(root, DOMAIN, frozen=True, who="t"), []),
    "reset": (f"priors/{DOMAIN}.json", PriorRecord, lambda root: reset_prior(root, DOMAIN, who="t"), []),
    "round": (
        ROUND_KEY, RoundState, lambda root: change_round(root, ROUND_KEY.split("/")[1], lambda now: now.told("more")),
        ["Event"],
    ),
    "label": (BATCH_KEY, RegionBatch, answer, ["Opinion"]),
}  # fmt: skip
"""The record, the change, and the objects that are new by it."""


@pytest.mark.parametrize("case", CHANGES)
def test_what_is_not_known_stays_where_a_record_is_changed(root: StorageRoot, folder: Path, case: str) -> None:
    key, kind, change, new = CHANGES[case]
    before = root.read(key).data
    change(root)
    assert root.read(key).data != before
    assert lacking(folder, key, kind) == new


def test_an_erasure_keeps_the_other_frames_as_they_are(root: StorageRoot) -> None:
    key = root.list_objects("frames/sim-dusk")[0].key
    (first, *others) = list(read_shard(root.read(key).data, key))
    gone = first.metadata.model_copy(update={"vehicle": "somebody"})
    root.write(key, join_shard(map(encode_members, [replace(first, metadata=gone), *others])))
    erase_stored(root, "somebody")
    kept = list(read_shard(root.read(key).data, key))
    assert kept == others
    assert all(frame.others == {f"{ADDED}.bin": b"of a frame"} for frame in kept)
    assert all(ADDED in (frame.metadata.model_extra or {}) for frame in kept)


def test_presence_with_another_array_is_read(folder: Path) -> None:
    (path,) = (folder / "presence").rglob("*.npz")
    (before,) = (RELEASE_ROOT / "presence").rglob("*.npz")
    read, expected = PresenceRows.decode(path.read_bytes(), "new"), PresenceRows.decode(before.read_bytes(), "old")
    np.testing.assert_array_equal(read.presence_NK, expected.presence_NK)


def test_learner_and_gateway_work_on_it_and_write_what_0_1_reads(
    folder: Path, root: StorageRoot, tmp_path: Path
) -> None:
    hollow, source = make_hollow_release(tmp_path), write_frames(tmp_path / "day", 1.0, cars=1)
    leave_frames(root, DOMAIN, 12)
    release = fetch_release(root, 1, tmp_path / "fetched")
    old = {key for key, _ in records_of(folder)}
    url = f"file://{folder}"
    with (
        LearnerProcess(url, source, tmp_path, "--fake", "--release", str(hollow), *ROLLOUT) as learner,
        running_gateway(tmp_path, url, release) as (_, ports),
        grpc.insecure_channel(f"127.0.0.1:{ports[0]}") as channel,
        grpc.insecure_channel(f"127.0.0.1:{learner.port}") as to_learner,
    ):
        annotator, vehicle = annotation_grpc.AnnotationStub(to_learner), pb_grpc.SegmentationStub(channel)
        task = annotator.Lease(annotation.LeaseRequest(annotator="anna", domain="sim-day")).task
        annotator.Submit(annotation.SubmitRequest(task=task.id, annotator="anna", label=1))
        trigger = operations.Trigger(domain="sim-day", drift=True, min_new_frames=2048)
        learner.stub().SetTrigger(operations.SetTriggerRequest(trigger=trigger, by="otto"))
        learner.stub().Pin(operations.PinRequest(version=2, pinned=True, by="otto"))
        started = learner.stub().StartRound(operations.StartRoundRequest(domain=DOMAIN, seed=3, by="otto"))

        def promoted() -> str | None:
            drive(vehicle)
            return phase_reached(root, started.id, "promoted")()

        until(promoted, "the promotion")
        learner.terminate()
    stored = read_plan(root)
    assert stored is not None
    assert (stored.plan.of(DOMAIN).serving, stored.plan.revision > 5) == (3, True)
    assert json.loads(root.read("pins.json").data) == {
        "format": 1,
        "pinned": [1, 2],
        ADDED: {"deep": [1, None, "text"]},
    }
    assert lacking(folder, "serving_plan.json", ServingPlan) == []
    assert lacking(folder, "triggers.json", TriggerBook) == []
    assert lacking(folder, BATCH_KEY, RegionBatch) == ["Opinion"]
    assert len({key for key, _ in records_of(folder)} - old) > 5
    for key, kind in records_of(folder):
        for name, encoded in objects_of(kind, (folder / key).read_bytes(), key)[1]:
            assert encoded.keys() - FIELDS[name] <= {ADDED}, key
