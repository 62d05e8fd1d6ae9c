"""Storage roots that releases have written, read by the code as it stands: a folder below `roots` for each release."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adaptation.control.learner.triggers import read_triggers
from adaptation.control.rounds.round_state import Phase, read_progress, read_round
from exchange.fleet.erasures import ErasureReader
from exchange.fleet.frames import read_shard
from exchange.fleet.gateways import read_heartbeats
from exchange.fleet.presence import PresenceReader
from exchange.plan.priors import read_priors
from exchange.plan.serving_plan import read_plan
from exchange.regions.batches import read_batches, read_frame
from exchange.registry import fetch_release, read_ledger
from exchange.registry.audit import read_audit
from exchange.registry.pins import read_pins
from exchange.storage import StorageRoot, open_root
from tests.upgrade.newer_minor import add_newer_fields
from tests.upgrade.write_root import DOMAIN

ROOTS = sorted((Path(__file__).parent / "roots").iterdir())
NEWER = "with fields of a newer minor"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture(params=ROOTS, ids=lambda folder: folder.name)
def release_root(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.param
    return folder


@pytest.fixture(params=["as it is", NEWER])
def root(request: pytest.FixtureRequest, release_root: Path, tmp_path: Path) -> StorageRoot:
    folder = shutil.copytree(release_root, tmp_path / "root")
    if request.param == NEWER:
        add_newer_fields(folder)
    return open_root(str(folder))


def test_what_is_served_is_read(root: StorageRoot, tmp_path: Path) -> None:
    stored = read_plan(root)
    assert stored is not None
    assert (stored.plan.of(DOMAIN).serving, stored.plan.of(DOMAIN).previous) == (2, 1)
    assert [entry.version for entry in read_ledger(root)] == [1, 2]
    assert (fetch_release(root, 2, tmp_path / "fetched") / "weights.safetensors").is_file()
    assert read_pins(root) == (1,)
    (beat,) = read_heartbeats(root)
    assert beat.versions.keys() == {1, 2}


def test_what_was_captured_is_read(root: StorageRoot) -> None:
    shards = root.list_objects("frames")
    frames = [frame for info in shards for frame in read_shard(root.read(info.key).data, info.key)]
    assert {frame.metadata.domain for frame in frames} == {DOMAIN, "sim-day"}
    assert len(PresenceReader(root, DOMAIN).rows_since(LONG_AGO)) > 6
    assert [record.domain for record in read_priors(root)] == [DOMAIN]
    assert len(ErasureReader(root).unseen()) == 1


def test_what_was_learnt_and_answered_is_read(root: StorageRoot) -> None:
    (round_id,) = root.list_folders("rounds")
    assert read_round(root, round_id).phase is Phase.PROMOTED
    assert read_progress(root, round_id) is not None
    assert read_triggers(root).rules["sim-day"].drift
    (batch,) = read_batches(root, "sim-day")
    assert [[opinion.label for opinion in task.opinions] for task in batch.tasks] == [[0], [255], []]
    assert read_frame(root, "sim-day", batch.tasks[0]) is not None
    assert {entry.what for entry in read_audit(root)} >= {"try", "promote", "pin"}
