"""One round that really learns, by the worker's process: release, parity, the gate's word, publication."""

from pathlib import Path

import pytest
from roadshift.v1 import operations_pb2 as pb

from adaptation.control.labeling.desk import LabelDesk
from adaptation.control.rounds.round_state import read_progress
from exchange.registry import fetch_release, read_published_manifest
from exchange.registry.releases import verify_release
from exchange.storage import StorageRoot
from tests.annotation.asked_regions import ROAD, frame_where, leave_batch
from tests.service.learner_rig import LearnerProcess, phase_reached, until


@pytest.mark.timeout(900)
def test_a_round_learns_and_is_judged(root: StorageRoot, url: str, source: Path, release: Path, tmp_path: Path) -> None:
    held_out = frame_where(held_out=True)
    leave_batch(root, [frame_where(held_out=False), held_out], 24)
    desk = LabelDesk(root)
    while (task := desk.lease("anna")) is not None:
        desk.submit(task.id, "anna", ROAD)
    with LearnerProcess(url, source, tmp_path / "a", "--release", str(release)) as learner:
        stub = learner.stub()
        request = pb.StartRoundRequest(domain="sim-dusk", force=True, why="a network that was never trained")
        started = stub.StartRound(request)
        until(phase_reached(root, started.id, "rollout"), "the rollout", 800)
        found = stub.GetRound(pb.GetRoundRequest(id=started.id))
        assert (found.frames, found.version) == (12, 2)
        checks = {check.name: check for check in found.checks}
        assert checks["engine parity"].passed
        assert checks["source mIoU lost, day"].HasField("value")
        assert "(768 pixels)" in checks["labelled target mIoU lost"].explanation  # of the held-out frame alone
        progress = read_progress(root, started.id)
        assert progress is not None
        assert progress.worked_s > 0
        assert progress.curve[-1].step == "rectifying the head"
    manifest = read_published_manifest(root, 2)
    assert (manifest.parent, manifest.anchor, manifest.recipe) == (1, 1, "tiny")
    assert manifest.snapshot_digest is not None
    verify_release(fetch_release(root, 2, tmp_path / "cache"))
