"""A learner as a process of its own, a release and a recipe that take it seconds, and frames as gateways leave them."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Self, TypeVar

import cv2
import grpc
import numpy as np
import torch
from roadshift.v1 import operations_pb2_grpc as pb_grpc

from adaptation.control.rounds.round_state import read_round
from adaptation.learning.data.class_statistics import count_classes
from adaptation.learning.data.data_choice import choose_data
from adaptation.learning.data.labelled_frames import read_labels
from adaptation.learning.export.release import ExportSettings, SourceStatistics, export_release
from adaptation.learning.export.street_frames import street_frames
from adaptation.learning.networks.checkpoints import save_network
from adaptation.learning.networks.hrda import build_network
from exchange.failpoints import VARIABLE
from exchange.fleet.frames import CapturedFrame, FrameMetadata, KeptFor, encode_members, join_shard
from exchange.fleet.gateways import Heartbeat, VersionHealth, write_heartbeat
from exchange.images.labels import encode_gray_png, encode_palette_png
from exchange.networks import whole_frame_windows
from exchange.plan.plan_changes import named_versions
from exchange.plan.serving_plan import read_plan
from exchange.registry.releases import Manifest, hash_files, write_manifest
from exchange.storage import StorageRoot, open_root
from exchange.storage.locations import ShardName
from tests.rounds.conftest import PLAIN_NETWORK
from tests.rounds.small_round import CONFIG

ROOT_FOLDER = Path(__file__).parents[2]
FRAME_SIZE = (64, 96)
PATIENCE_S = 90.0
RECIPE = CONFIG.model_copy(
    update={"recipe": "tiny", "rectified_share": 1.0, "self_training": None, "budget": 2, "measured_frames": 4}
)
T = TypeVar("T")


def make_release(folder: Path, data: Path) -> Path:
    """Of a network that was never trained, with the statistics of labelled data."""
    torch.manual_seed(0)
    network = folder / "network"
    save_network(network, PLAIN_NETWORK, build_network(PLAIN_NETWORK).state_dict())
    settings = ExportSettings("openvino", "fp32", FRAME_SIZE, whole_frame_windows(FRAME_SIZE))
    (choice,) = choose_data([data], "train")
    counts_NK = np.stack([count_classes(read_labels(frame)) for frame in choice.frames()])
    export_release(
        network, folder / "release", settings, SourceStatistics.of_labels(counts_NK), street_frames(FRAME_SIZE)
    )
    return folder / "release"


def make_hollow_release(folder: Path) -> Path:
    """A release that nobody can run, for rounds that learn nothing."""
    release = folder / "release"
    release.mkdir()
    (release / "weights.safetensors").write_bytes(b"no weights")
    share = [1 / 19] * 19
    manifest = Manifest(
        created_at=datetime.now(UTC),
        engine="openvino",
        precision="fp32",
        network=PLAIN_NETWORK,
        windows=whole_frame_windows(FRAME_SIZE),
        frame_size=FRAME_SIZE,
        source_pixel_frequency=share,
        output_prior=share,
        files_sha256=hash_files(release),
    )
    write_manifest(release, manifest)
    return release


def leave_frames(
    root: StorageRoot,
    domain: str,
    frames: int,
    *,
    vehicle: str = "v1",
    seed: int = 0,
    kept_for: KeptFor = "uniform",
    size_hw: tuple[int, int] = FRAME_SIZE,
) -> None:
    """One captured shard, as a gateway's capture writes it."""
    rng = np.random.default_rng(seed)
    now = datetime.now(UTC)
    members = []
    for index in range(frames):
        image_HW3 = rng.integers(0, 120, (*size_hw, 3), dtype=np.uint8)
        labels_HW = np.zeros(size_hw, np.uint8)
        metadata = FrameMetadata(
            key=f"{seed}-{vehicle}-{index}",
            domain=domain,
            gateway="gw-a",
            vehicle=vehicle,
            drive=f"{vehicle}-{index // 4}",
            captured_at=now,
            model_version=1,
            prior_id="none",
            image="png" if index % 2 else "rgb",
            size_hw=size_hw,
            mean_confidence=0.5,
            class_fractions=(1 / 19,) * 19,
            presence=(0.1,) * 19,
            mean_probability=(1 / 19,) * 19,
            kept_for=kept_for,
        )
        image = cv2.imencode(".png", image_HW3)[1].tobytes() if index % 2 else image_HW3.tobytes()
        captured = CapturedFrame(metadata, image, encode_palette_png(labels_HW), encode_gray_png(labels_HW))
        members.append(encode_members(captured))
    root.create(ShardName(domain, "gw-a", now, frames).key, join_shard(members))


def beat(root: StorageRoot, revision: int, versions: dict[int, VersionHealth], gateway: str = "gw-a") -> None:
    """A gateway's heartbeat of now."""
    now = datetime.now(UTC)
    write_heartbeat(
        root,
        Heartbeat(
            gateway=gateway,
            started_at=now,
            written_at=now,
            plan_revision=revision,
            versions=versions,
            free_bytes=1,
            presence_dropped=0,
            capture_dropped=0,
            erasures_applied=0,
        ),
    )


class BeatingGateway:
    """A gateway of which there is only the heartbeat: it loads what the plan names, and has answered with it."""

    def __init__(self, root: StorageRoot, **candidate: object) -> None:
        self._root = root
        self._candidate = candidate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat)

    def _beat(self) -> None:
        while not self._stop.wait(0.1):
            stored = read_plan(self._root)
            if stored is not None:
                tried = {
                    p.candidate.version for p in (stored.plan.default, *stored.plan.domains.values()) if p.candidate
                }
                versions = {version: healthy() for version in named_versions(stored.plan)}
                versions |= {version: healthy(**self._candidate) for version in tried}
                beat(self._root, stored.plan.revision, versions)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def healthy(**changes: object) -> VersionHealth:
    now = datetime.now(UTC)
    health = VersionHealth(loaded=True, last_success=now, requests=100, errors=0, p50_s=0.1, p99_s=0.2)
    return health.model_copy(update=changes)


def until(found: Callable[[], T | None], what: str, patience_s: float = PATIENCE_S) -> T:
    """Asks again and again until there is an answer."""
    over_s = time.monotonic() + patience_s
    while not (answer := found()):
        assert time.monotonic() < over_s, f"{what} did not happen in {patience_s:.0f} s"
        time.sleep(0.05)
    return answer


class LearnerProcess:
    """`roadshift learner` on a free port."""

    def __init__(
        self,
        url: str,
        source: Path,
        folder: Path,
        *options: str,
        failpoint: str = "",
        wait: bool = True,
        descriptors: int | None = None,
    ):
        """`descriptors`: how many files and connections the process may have open."""
        folder.mkdir(parents=True, exist_ok=True)
        recipe = folder / "recipe.json"
        recipe.write_text(RECIPE.model_dump_json())
        command = [sys.executable, "-c", "import cli; cli.main()", "learner", "--root", url, "--source", str(source)]
        command += ["--run-dir", str(folder / "run"), "--recipe-file", str(recipe), "--recipe", "tiny"]
        command += ["--listen", "127.0.0.1:0", "--metrics", "", "--lease-s", "1", "--own-machine", *options]
        if descriptors is not None:
            command = ["prlimit", f"--nofile={descriptors}:{descriptors}", *command]
        environment = os.environ | {"OMP_NUM_THREADS": "1", VARIABLE: failpoint}
        self.log = folder / "learner.log"
        with self.log.open("ab") as log:
            self._begins_at = log.tell()
            self.process = subprocess.Popen(
                command, cwd=ROOT_FOLDER, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        self.url = url
        self.run_dir = folder / "run"
        self._channel: grpc.Channel | None = None
        if wait:
            self.wait_until_ready()

    def wait_until_ready(self, patience_s: float = PATIENCE_S) -> None:
        self.port = until(self._port, "opening the port", patience_s)

    def root(self) -> StorageRoot:
        return open_root(self.url)

    def workers(self) -> list[int]:
        """Process ids of this learner's workers, dead ones left out."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        pids = children.read_text().split() if children.exists() else []
        return [int(pid) for pid in pids if "_worker" in Path(f"/proc/{pid}/cmdline").read_text()]

    def _port(self) -> int | None:
        assert self.process.poll() is None, self.said()
        found = re.search(r"operations on port (\d+)\n", self.said())
        return int(found[1]) if found else None

    def said(self) -> str:
        return self.log.read_bytes()[self._begins_at :].decode(errors="replace")

    def wait_for_end(self, patience_s: float = PATIENCE_S) -> int:
        return self.process.wait(patience_s)

    def stub(self) -> pb_grpc.OperationsStub:
        if self._channel is None:
            self._channel = grpc.insecure_channel(f"127.0.0.1:{self.port}")
        return pb_grpc.OperationsStub(self._channel)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def terminate(self) -> int:
        self.process.terminate()
        return self.process.wait(30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        if self._channel is not None:
            self._channel.close()


def phase_reached(root: StorageRoot, round_id: str, *phases: str) -> Callable[[], str | None]:
    """For `until`: one of the phases, or an end that none of them is."""

    def look() -> str | None:
        state = read_round(root, round_id)
        assert state.phase in phases or not state.phase.is_final, state
        return state.phase if state.phase in phases else None

    return look
