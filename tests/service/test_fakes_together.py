"""Gateway and learner, both `--fake`: all that a newcomer can try without an engine, from a round to a rollback."""

import uuid
from pathlib import Path

import grpc
import numpy as np
from roadshift.v1 import operations_pb2 as operations
from roadshift.v1 import segmentation_pb2 as pb
from roadshift.v1 import segmentation_pb2_grpc as pb_grpc

from adaptation.control.rounds.round_state import read_round
from exchange.fleet.gateways import VersionHealth, read_heartbeats
from exchange.label_space import NUM_CLASSES, PALETTE_RGB
from exchange.registry import fetch_release
from exchange.storage import StorageRoot
from server.fake_marks import mark_of
from tests.monitoring.deployment import running_gateway
from tests.service.learner_rig import LearnerProcess, phase_reached, until

ROLLOUT = ("--shadow-share", "1", "--shadow-s", "4", "--bake-s", "0.5", "--share", "0.5")
COMPARED_AT_LEAST = 8
"""Shadow copies before which a learner drops nobody for them."""


def test_a_round_of_fakes_is_a_shadow_a_canary_promoted_and_rolled_back(
    url: str, root: StorageRoot, source: Path, hollow: Path, tmp_path: Path
) -> None:
    options = ("--fake", "--release", str(hollow), *ROLLOUT)
    with (
        LearnerProcess(url, source, tmp_path, *options) as learner,
        running_gateway(tmp_path, url, hollow) as (_, ports),
        grpc.insecure_channel(f"127.0.0.1:{ports[0]}") as channel,
    ):
        vehicle = pb_grpc.SegmentationStub(channel)
        started = learner.stub().StartRound(operations.StartRoundRequest(domain="sim-dusk", seed=1, by="test"))
        until(phase_reached(root, started.id, "rollout"), "the rollout")
        shadow = until(lambda: compared(vehicle, root, 2), "shadow copies")
        assert shadow.requests == 0, "it was compared before it answered anybody"
        assert shadow.disagreement is not None
        assert 0.01 < np.mean([share for share in shadow.disagreement if share > 0]) < 0.02

        def promoted() -> str | None:
            drive(vehicle)
            return phase_reached(root, started.id, "promoted")()

        until(promoted, "the promotion")
        told = [event.text for event in read_round(root, started.id).events]
        assert told[-3:-1] == ["release 2 is the candidate", "release 2 answers 50% of the drives"]
        until(lambda: road(vehicle).model_version == 2, "an answer by the promoted version")
        assert labels_in(road(vehicle)) == {0, mark_of(fetch_release(root, 2, tmp_path / "fetched"))}
        learner.stub().Rollback(operations.RollbackRequest(domain="sim-dusk", why="to see it", by="test"))
        until(lambda: road(vehicle).model_version == 1, "an answer after the rollback")
        assert labels_in(road(vehicle)) == {0}


def compared(vehicle: pb_grpc.SegmentationStub, root: StorageRoot, version: int) -> VersionHealth | None:
    """What a gateway says of a version that was shown copies of enough frames; another drive is sent first."""
    drive(vehicle)
    beats = [beat.versions[version] for beat in read_heartbeats(root) if version in beat.versions]
    return next((health for health in beats if health.shadow_frames >= COMPARED_AT_LEAST), None)


def drive(vehicle: pb_grpc.SegmentationStub) -> None:
    """One that shows each class's colour once."""
    drive_id = uuid.uuid4().hex
    for color_class in range(NUM_CLASSES):
        vehicle.Segment(
            pb.SegmentRequest(frame=frame_of(color_class), domain="sim-dusk", drive_id=drive_id), timeout=10
        )


def road(vehicle: pb_grpc.SegmentationStub) -> pb.SegmentResponse:
    options = pb.SegmentOptions(label_encoding=pb.LABEL_ENCODING_RAW)
    return vehicle.Segment(pb.SegmentRequest(frame=frame_of(0), domain="sim-dusk", options=options), timeout=10)


def labels_in(answer: pb.SegmentResponse) -> set[int]:
    return set(answer.labels.data)


def frame_of(color_class: int) -> pb.Frame:
    image_HW3 = np.broadcast_to(PALETTE_RGB[color_class], (64, 96, 3))
    return pb.Frame(data=image_HW3.tobytes(), format="rgb8", height=64, width=96)
