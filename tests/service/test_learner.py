"""A learner's process: what it begins with, a round from captured frames to promotion, and who may run it."""

from pathlib import Path

from roadshift.v1 import operations_pb2 as pb

from exchange.ledger import read_ledger
from exchange.serving_plan import read_plan
from exchange.storage import StorageRoot
from tests.service.learner_rig import LearnerProcess, beat, healthy, phase_reached, until

FAST = ("--shadow-s", "0", "--bake-s", "0", "--fewest-frames", "1")


def test_a_round_from_captured_frames_to_promotion(
    root: StorageRoot, url: str, source: Path, hollow: Path, tmp_path: Path
) -> None:
    with LearnerProcess(url, source, tmp_path / "a", "--release", str(hollow), *FAST, "--fake") as learner:
        stub = learner.stub()
        request = pb.StartRoundRequest(domain="sim-dusk", force=True, why="a network that was never trained")
        started = stub.StartRound(request)
        until(phase_reached(root, started.id, "rollout"), "the rollout")
        revisions = iter(range(2, 1000))

        def promoted() -> bool:
            beat(root, next(revisions), {1: healthy(), 2: healthy()})
            return phase_reached(root, started.id, "promoted")() is not None

        until(promoted, "promotion")
        stored = read_plan(root)
        assert stored is not None
        assert (stored.plan.of("sim-dusk").serving, stored.plan.of("sim-dusk").previous) == (2, 1)
        assert stored.plan.default.serving == 1
        assert [entry.round_id for entry in read_ledger(root)] == ["starter", started.id]
        assert learner.terminate() == 0
