"""Whatever a later major wrote is refused by its key, with both majors and what to do."""

import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from roadshift.v1 import operations_pb2 as operations

from adaptation.control.rounds.fake_worker import ENDLESS
from adaptation.control.rounds.round_state import Phase, new_round_id, read_round, round_key, state_key
from exchange.fleet.frames import read_shard
from exchange.fleet.presence import PresenceRows
from exchange.registry import read_decided, read_ledger, read_published_manifest
from exchange.registry.entries import LedgerEntry
from exchange.registry.releases import ReleaseError, read_manifest
from exchange.storage import StorageRoot, open_root
from exchange.storage.records import Record, RecordError, RecordTooNew
from tests.rounds.conftest import write_frames
from tests.service.learner_rig import LearnerProcess, leave_frames, make_hollow_release, phase_reached, until
from tests.upgrade.kinds import KINDS, OTHER_KINDS, records_of
from tests.upgrade.write_root import DOMAIN

RELEASE_ROOT = Path(__file__).parent / "roots" / "0.1"
EXAMPLES = {kind: key for key, kind in records_of(RELEASE_ROOT)}
REMEDY = "it is of format 2, and this version knows format 1: upgrade this process"


@pytest.fixture
def root(tmp_path: Path) -> StorageRoot:
    return open_root(str(shutil.copytree(RELEASE_ROOT, tmp_path / "root")))


def of_format_2(data: bytes) -> bytes:
    return json.dumps(json.loads(data) | {"format": 2}).encode()


def test_every_kind_has_an_example() -> None:
    assert EXAMPLES.keys() == set(KINDS.values())


@pytest.mark.parametrize("kind", EXAMPLES, ids=lambda kind: kind.__name__)
def test_a_record_of_a_later_major_is_refused_by_name(kind: type[Record]) -> None:
    key = EXAMPLES[kind]
    with pytest.raises(RecordTooNew, match=f"{re.escape(key)} is no {kind.__name__} .*: {REMEDY}"):
        kind.decode(of_format_2((RELEASE_ROOT / key).read_bytes()), key)


@pytest.mark.parametrize("kind", OTHER_KINDS, ids=lambda kind: kind.__name__)
def test_so_are_those_that_the_kept_root_does_not_have(kind: type[Record]) -> None:
    with pytest.raises(RecordTooNew, match=f"some/key is no {kind.__name__} .*: {REMEDY}"):
        kind.decode(b'{"format": 2, "else": 1}', "some/key")


@pytest.mark.parametrize(
    "data", [b'{"format": 0}', b'{"format": "2"}', b'{"format": null}', b"[2]", b'{"format": 2', b"\xff"]
)
def test_what_is_only_damaged_is_not_called_new(data: bytes) -> None:
    with pytest.raises(RecordError) as refused:
        LedgerEntry.decode(data, "some/key")
    assert not isinstance(refused.value, RecordTooNew)


def test_a_ledger_of_a_later_major_is_neither_void_nor_damaged(root: StorageRoot) -> None:
    key = EXAMPLES[LedgerEntry]
    root.write(key, of_format_2(root.read(key).data))
    with pytest.raises(RecordTooNew, match=REMEDY):
        read_ledger(root)
    with pytest.raises(RecordTooNew, match=REMEDY):
        read_decided(root, int(Path(key).stem))


def test_a_manifest_is_refused_in_the_root_and_in_a_folder(root: StorageRoot, tmp_path: Path) -> None:
    for data, told in ((b'{"format": 2}', REMEDY), (b"{}", "is not a release manifest")):
        (tmp_path / "manifest.json").write_bytes(data)
        with pytest.raises(ReleaseError, match=told) as refused:
            read_manifest(tmp_path)
        assert isinstance(refused.value, RecordTooNew) is (told == REMEDY)
        root.write("releases/2/manifest.json", data)
        with pytest.raises(ReleaseError, match="not the published one"):
            read_published_manifest(root, 2)


def test_presence_and_frames_are_refused_by_name(root: StorageRoot) -> None:
    key = root.list_objects(f"presence/{DOMAIN}")[0].key
    with np.load(io.BytesIO(root.read(key).data)) as arrays:
        changed = {name: arrays[name] for name in arrays.files} | {"format": np.int32(2)}
    part = io.BytesIO()
    np.savez_compressed(part, **changed)
    with pytest.raises(RecordTooNew, match=f"{re.escape(key)} holds no presence rows .*: {REMEDY}"):
        PresenceRows.decode(part.getvalue(), key)
    key = root.list_objects(f"frames/{DOMAIN}")[0].key
    shard = root.read(key).data.replace(b'"format": 1', b'"format": 2')
    shard = shard.replace(b'"format":1', b'"format":2')
    with pytest.raises(RecordTooNew, match=f"{re.escape(key)}:.* is no FrameMetadata .*: {REMEDY}"):
        list(read_shard(shard, key))


def test_a_learner_decides_nothing_about_a_round_that_a_later_one_went_on_with(
    root: StorageRoot, tmp_path: Path
) -> None:
    hollow, source = make_hollow_release(tmp_path), write_frames(tmp_path / "day", 1.0, cars=1)
    leave_frames(root, DOMAIN, 12)
    key = round_key(new_round_id("mine"), "snapshot.json")
    root.write(key, b'{"format": 2}')
    with LearnerProcess(f"file://{tmp_path}/root", source, tmp_path, "--fake", "--release", str(hollow)) as learner:
        order = operations.StartRoundRequest(domain=DOMAIN, idempotency_key="mine", by="otto")
        started = learner.stub().StartRound(order)
        until(lambda: f"{key} is no CapturedSnapshot" in learner.said() and REMEDY in learner.said(), "the refusal")
        assert read_round(root, started.id).phase is Phase.SNAPSHOT
        learner.stub().CancelRound(operations.CancelRoundRequest(id=started.id, by="otto"))
        until(phase_reached(root, started.id, "cancelled"), "the cancellation")


def test_a_round_that_a_later_learner_has_written_gives_its_worker_to_no_other(
    root: StorageRoot, tmp_path: Path
) -> None:
    hollow, source = make_hollow_release(tmp_path), write_frames(tmp_path / "day", 1.0, cars=1)
    for domain in (DOMAIN, "sim-day"):
        leave_frames(root, domain, 12)
    with LearnerProcess(f"file://{tmp_path}/root", source, tmp_path, "--fake", "--release", str(hollow)) as learner:
        order = operations.StartRoundRequest(domain=DOMAIN, seed=ENDLESS, by="otto")
        key = state_key(learner.stub().StartRound(order).id)
        until(learner.workers, "the worker")
        written = of_format_2(root.read(key).data)
        root.write(key, written)
        other = learner.stub().StartRound(operations.StartRoundRequest(domain="sim-day", seed=3, by="otto"))
        until(phase_reached(root, other.id, "rollout"), "the other round's rollout")
        assert root.read(key).data == written
        assert f"{key} is no RoundState" in learner.said()
        assert REMEDY in learner.said()
