"""Write a small storage root with a record of every kind, by real processes of the code as it stands.

    python -m tests.upgrade.write_root FOLDER

The roots below tests/upgrade/roots/ were written so, one by each release, and are never written again.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import grpc
from roadshift.v1 import annotation_pb2 as annotation
from roadshift.v1 import annotation_pb2_grpc as annotation_grpc
from roadshift.v1 import operations_pb2 as operations
from roadshift.v1 import segmentation_pb2 as pb
from roadshift.v1 import segmentation_pb2_grpc as pb_grpc

from exchange.storage import open_root
from tests.console.deployment import leave_captured, leave_regions
from tests.monitoring.deployment import running_gateway
from tests.rounds.conftest import write_frames
from tests.service.learner_rig import LearnerProcess, make_hollow_release, phase_reached, until
from tests.service.test_fakes_together import ROLLOUT, drive, frame_of

DOMAIN = "sim-dusk"
_LARGEST_SHARD_BYTES = 200_000


def write_root(folder: Path, scratch: Path) -> None:
    """Frames, presence, heartbeat, plan, two releases, a round, a trigger, a pin, labels, an erasure and the audit."""
    url, hollow = f"file://{folder}", make_hollow_release(scratch)
    root, source = open_root(url), write_frames(scratch / "day", 1.0, cars=1)
    os.environ["ROADSHIFT_CAPTURE_INTERVAL_S"] = "1"
    with (
        LearnerProcess(url, source, scratch, "--fake", "--release", str(hollow), *ROLLOUT) as learner,
        running_gateway(scratch, url, hollow) as (_, ports),
        grpc.insecure_channel(f"127.0.0.1:{ports[0]}") as channel,
        grpc.insecure_channel(f"127.0.0.1:{learner.port}") as to_learner,
    ):
        vehicle = pb_grpc.SegmentationStub(channel)
        for number, name in enumerate(("car-1", "car-2")):
            for color_class in range(6):
                request = pb.SegmentRequest(frame=frame_of(color_class), domain=DOMAIN, vehicle_id=name)
                vehicle.Segment(request, timeout=10)
            until(
                lambda number=number: len(root.list_objects(f"frames/{DOMAIN}")) > number, f"a captured shard of {name}"
            )
        leave_regions(root, leave_captured(root, "sim-day", 1), 3)
        annotator = annotation_grpc.AnnotationStub(to_learner)
        for label in (0, 255):
            task = annotator.Lease(annotation.LeaseRequest(annotator="anna", domain="sim-day")).task
            annotator.Submit(annotation.SubmitRequest(task=task.id, annotator="anna", label=label))
        trigger = operations.Trigger(domain="sim-day", drift=True, min_new_frames=4096)
        learner.stub().SetTrigger(operations.SetTriggerRequest(trigger=trigger, by="otto"))
        started = learner.stub().StartRound(operations.StartRoundRequest(domain=DOMAIN, seed=1, by="otto"))

        def promoted() -> str | None:
            drive(vehicle)
            return phase_reached(root, started.id, "promoted")()

        until(promoted, "the promotion")
        learner.stub().Pin(operations.PinRequest(version=1, pinned=True, by="otto"))
        until(lambda: root.list_objects(f"presence/{DOMAIN}"), "rows of presence")
        erase = ["erase", "--vehicle", "car-2", "--root", url, "--pseudonym-key"]
        key = next((scratch / "gateway").rglob("*pseudonym*"))
        subprocess.run([sys.executable, "-c", "import cli; cli.main()", *erase, str(key)], check=True)
        learner.terminate()
    for info in root.list_objects(f"frames/{DOMAIN}"):
        if info.size_bytes > _LARGEST_SHARD_BYTES:  # of the drives that the rollout waited for
            root.delete(info.key)
    shutil.rmtree(folder / ".partial")


def main() -> None:
    """Write the root that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder to be made, such as tests/upgrade/roots/0.1")
    folder: Path = parser.parse_args().folder.absolute()
    if folder.exists():
        sys.exit(f"{folder} exists: name a new folder; a root that was written before stays as it is")
    with tempfile.TemporaryDirectory() as scratch:
        write_root(folder, Path(scratch))
    print(f"{sum(path.stat().st_size for path in folder.rglob('*') if path.is_file())} bytes, {datetime.now(UTC):%F}")


if __name__ == "__main__":
    main()
