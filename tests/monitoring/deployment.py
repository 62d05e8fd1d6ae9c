"""A learner and a gateway as processes, with something to show in every metric, and vehicles that drive."""

import os
import re
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc
import numpy as np
from roadshift.v1 import operations_pb2 as operations
from roadshift.v1 import segmentation_pb2 as pb
from roadshift.v1 import segmentation_pb2_grpc as pb_grpc

from adaptation.control.rounds.fake_worker import ENDLESS, REFUSED
from exchange.fleet.gateways import read_heartbeats
from exchange.regions.batches import create_batch
from exchange.regions.tasks import Box, RegionBatch, RegionTask, new_batch_id
from exchange.registry import publish
from exchange.storage import StorageRoot, open_root
from tests.service.learner_rig import ROOT_FOLDER, LearnerProcess, leave_frames, phase_reached, until

DOMAINS = ("sim-day", "sim-dusk")
_FRAME_EVERY_S = 0.05
_READY = re.compile(r"serving on port (\d+)\nmetrics on port (\d+)\n")


@dataclass
class Deployment:
    root: StorageRoot
    learner: LearnerProcess
    gateway: subprocess.Popen[bytes]
    gateway_metrics: str
    """HOST:PORT, as of the learner."""
    learner_metrics: str

    def exported(self) -> str:
        """What gateway and learner tell Prometheus."""
        return "".join(read_url(f"http://{place}/metrics") for place in (self.gateway_metrics, self.learner_metrics))


def read_url(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310 - this machine's own
        text: str = response.read().decode()
        return text


@contextmanager
def running_deployment(folder: Path, source: Path, release: Path) -> Iterator[Deployment]:
    """One round was refused, one learns without end, one waits; a candidate is a shadow; frames come all the time."""
    url = f"file://{folder}/root"
    root = open_root(url)
    for domain in ("sim-dusk", "sim-fog"):
        leave_frames(root, domain, 12)
    _ask_people(root)
    options = ["--release", str(release), "--fake", "--shadow-s", "600", "--shadow-share", "1"]
    options += ["--metrics", "127.0.0.1:0", "--yield-file", str(folder / "gateway" / "engine_busy"), "--log-json"]
    with (
        LearnerProcess(url, source, folder, *options) as learner,
        running_gateway(folder, url, release) as (gateway, ports),
    ):
        metrics = re.search(r"metrics on port (\d+)", learner.said())
        assert metrics is not None
        with _vehicles(ports[0]):
            _give_orders(root, learner, release)
            yield Deployment(root, learner, gateway, f"127.0.0.1:{ports[1]}", f"127.0.0.1:{metrics[1]}")


@contextmanager
def running_gateway(
    folder: Path, url: str, release: Path, name: str = "gw-a"
) -> Iterator[tuple[subprocess.Popen[bytes], tuple[int, int]]]:
    command = [sys.executable, "-c", "import cli; cli.main()", "serve", "--fake", "--root", url, "--gateway", name]
    command += ["--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--run-dir", str(folder / "gateway")]
    command += ["--release", str(release), *(f"--domain={domain}" for domain in DOMAINS)]
    log = folder / "gateway.log"
    with log.open("wb") as file:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "ROADSHIFT_LOG_FORMAT": "json", "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(command, cwd=ROOT_FOLDER, env=environment, stdout=file, stderr=file)
    try:

        def ready() -> tuple[int, int] | None:
            assert process.poll() is None, log.read_text()
            found = _READY.search(log.read_text())
            return (int(found[1]), int(found[2])) if found else None

        yield process, until(ready, "the gateway's start")
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def _vehicles(port: int) -> Iterator[None]:
    """They show noise, and one sends nonsense now and then; all end when the gateway does."""
    stop = threading.Event()

    def drive(stub: pb_grpc.SegmentationStub) -> None:
        noise_HW3 = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
        good = pb.Frame(data=noise_HW3.tobytes(), format="rgb8", height=64, width=96)
        bad = pb.Frame(data=b"no picture", format="png")
        for number in range(sys.maxsize):
            frame = bad if number % 20 == 19 else good
            request = pb.SegmentRequest(frame=frame, domain=DOMAINS[number % 2], vehicle_id=f"car-{number % 8}")
            try:
                stub.Segment(request, timeout=10)
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.UNAVAILABLE:
                    return
            if stop.wait(_FRAME_EVERY_S):
                return

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        driving = threading.Thread(target=drive, args=(pb_grpc.SegmentationStub(channel),))
        driving.start()
        try:
            yield
        finally:
            stop.set()
            driving.join()


def _give_orders(root: StorageRoot, learner: LearnerProcess, release: Path) -> None:
    stub = learner.stub()
    refused = stub.StartRound(operations.StartRoundRequest(domain="sim-fog", seed=REFUSED, by="test"))
    until(phase_reached(root, refused.id, "rejected"), "the gate's refusal")
    version = publish(root, release, by="test", origin="added").version
    stub.Promote(operations.PromoteRequest(version=version, domain="sim-dusk", by="test"))
    until(lambda: any(version in beat.versions for beat in read_heartbeats(root)), "loading the candidate")
    learning = stub.StartRound(operations.StartRoundRequest(domain="sim-dusk", seed=ENDLESS, by="test"))
    stub.StartRound(operations.StartRoundRequest(domain="sim-fog", by="test"))
    until(phase_reached(root, learning.id, "learning"), "learning")


def _ask_people(root: StorageRoot) -> None:
    now = datetime.now(UTC)
    task = RegionTask(
        frame_sha256="0" * 64, vehicle="v1", drive="v1-d", size_hw=(64, 96), box=Box(0, 8, 0, 8), runs=(0, 64),
        predicted=0, model_version=1, score=1.0,
    )  # fmt: skip
    create_batch(
        root,
        RegionBatch(
            id=new_batch_id(now, "abcdef"), domain="sim-dusk", asked_by="test", asked_at=now, clicks=1, phase="open",
            tasks=(task,),
        ),
    )  # fmt: skip
