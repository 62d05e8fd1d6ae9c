"""A learner with its console, a gateway with the fake engine, and a root with everything that pages can show."""

import hashlib
import os
import re
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from clients.client import Connection, FrameSettings, RequestFailed, RoadshiftClient
from exchange.fleet.frames import CapturedFrame, FrameMetadata, encode_members, join_shard
from exchange.fleet.presence import PresenceRow, PresenceRows
from exchange.images.labels import decode_index_png, encode_gray_png, encode_palette_png
from exchange.label_space import NUM_CLASSES
from exchange.regions.batches import create_batch, keep_frame
from exchange.regions.segments import run_lengths
from exchange.regions.tasks import Box, RegionBatch, RegionTask, new_batch_id
from exchange.storage import StorageRoot
from exchange.storage.locations import ShardName, presence_key
from server.segmenter import label_by_nearest_color
from tests.service.learner_rig import ROOT_FOLDER, until

STREETS = sorted((ROOT_FOLDER / "adaptation" / "learning" / "export" / "frames").glob("*.jpg"))
STARTER = ROOT_FOLDER / "model_repository" / "starter"
_FRAME_PAUSE_S = 0.4


def street_frame(number: int, domain: str, at: datetime, *, width: int = 512) -> CapturedFrame:
    """One of the package's street frames, with the labels that the fake engine gives it."""
    bgr_HW3 = cv2.imdecode(np.frombuffer(STREETS[number % len(STREETS)].read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    bgr_HW3 = cv2.resize(bgr_HW3, (width, width // 2), interpolation=cv2.INTER_AREA)
    rgb_HW3 = np.ascontiguousarray(np.roll(bgr_HW3[..., ::-1], 16 * number, axis=1))
    size_hw = (width // 2, width)
    answer = label_by_nearest_color(rgb_HW3, np.zeros(NUM_CLASSES, np.float32), size_hw, 4.0)
    noise_HW = np.random.default_rng(number).integers(0, 90, size_hw, dtype=np.uint8)
    confidence_HW = np.asarray(255 - cv2.GaussianBlur(noise_HW, (0, 0), 6), dtype=np.uint8)
    fractions = np.bincount(answer.labels_HW.ravel(), minlength=NUM_CLASSES) / answer.labels_HW.size
    metadata = FrameMetadata(
        key=f"{domain}-{number}",
        domain=domain,
        gateway="gw-a",
        vehicle=f"vehicle{number % 3}",
        drive=f"vehicle{number % 3}-drive",
        captured_at=at,
        model_version=1,
        prior_id="none",
        image="jpg",
        size_hw=size_hw,
        mean_confidence=float(confidence_HW.mean() / 255),
        class_fractions=tuple(fractions.tolist()),
        presence=(0.1,) * NUM_CLASSES,
        mean_probability=(1 / NUM_CLASSES,) * NUM_CLASSES,
        kept_for="uniform" if number % 4 else "low confidence",
    )
    jpeg = cv2.imencode(".jpg", rgb_HW3[..., ::-1])[1].tobytes()
    return CapturedFrame(metadata, jpeg, encode_palette_png(answer.labels_HW), encode_gray_png(confidence_HW))


def leave_captured(root: StorageRoot, domain: str, count: int, *, number: int = 0) -> list[CapturedFrame]:
    """One shard."""
    now = datetime.now(UTC)
    frames = [street_frame(number + i, domain, now - timedelta(seconds=3 * (count - i))) for i in range(count)]
    root.create(ShardName(domain, "gw-a", now, count).key, join_shard(encode_members(frame) for frame in frames))
    return frames


def leave_presence(root: StorageRoot, domain: str, *, shift: float = 0.0, minutes: int = 100) -> None:
    """Rows of the last while, some of them every ten seconds; `shift` makes pedestrians and riders more frequent."""
    rng, now = np.random.default_rng(0), datetime.now(UTC)
    often_K = np.array(
        [1, 0.9, 0.95, 0.3, 0.35, 0.9, 0.4, 0.6, 0.95, 0.4, 0.9, 0.3, 0.1, 0.9, 0.2, 0.1, 0.05, 0.1, 0.2]
    )
    often_K[[11, 12, 18]] = np.minimum(often_K[[11, 12, 18]] + shift, 1)
    by_hour: dict[datetime, list[PresenceRow]] = {}
    for step in range(6 * minutes):
        at = now - timedelta(seconds=10 * (6 * minutes - step))
        seen_K = rng.random(NUM_CLASSES) < often_K
        presence_K = np.where(seen_K, 0.6, 0.0).astype(np.float32)
        probability_K = np.where(seen_K, often_K / often_K.sum(), 1e-4).astype(np.float32)
        confidence = 0.93 - shift / 4 + 0.02 * np.sin(step / 60) + 0.01 * rng.random()
        row = PresenceRow(at.timestamp(), f"v{step // 60}-d", 1, presence_K, probability_K, float(confidence))
        by_hour.setdefault(at.replace(minute=0, second=0, microsecond=0), []).append(row)
    for hour, rows in by_hour.items():
        root.write(presence_key(domain, "gw-b", hour, 0), PresenceRows.of(rows).encode())


def leave_regions(root: StorageRoot, frames: list[CapturedFrame], a_frame: int) -> RegionBatch:
    """Regions that people are asked about, a few of each frame."""
    domain, tasks = frames[0].metadata.domain, []
    for frame in frames:
        digest = hashlib.sha256(frame.image).hexdigest()
        keep_frame(root, domain, digest, frame)
        rows, columns = frame.metadata.size_hw
        labels_HW = decode_index_png(frame.labels_png)
        for index in range(a_frame):
            top, left = rows // 2 - 12, 24 + (columns - 80) * index // a_frame
            inside = labels_HW[top : top + 32, left : left + 32]
            predicted = int(np.bincount(inside.ravel()).argmax())
            tasks.append(
                RegionTask(
                    number=len(tasks),
                    frame_sha256=digest,
                    vehicle=frame.metadata.vehicle,
                    drive=frame.metadata.drive,
                    size_hw=frame.metadata.size_hw,
                    box=Box(top, top + 32, left, left + 32),
                    runs=run_lengths(inside == predicted),
                    predicted=predicted,
                    model_version=frame.metadata.model_version,
                    score=1 / (len(tasks) + 2),
                )
            )
    now = datetime.now(UTC)
    batch = RegionBatch(
        id=new_batch_id(now, "000001"),
        domain=domain,
        asked_by="ann@desk",
        asked_at=now,
        clicks=len(tasks),
        phase="open",
        tasks=tuple(tasks),
    )
    create_batch(root, batch)
    return batch


class FakeGateway:
    """`roadshift serve --fake` at a root, and a vehicle that drives past it."""

    def __init__(self, url: str, folder: Path, *, name: str = "gw-a", domains: tuple[str, ...] = ("sim-dusk",)) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-c", "import cli; cli.main()", "serve", "--fake", "--root", url, "--gateway", name]
        command += ["--listen", "127.0.0.1:0", "--metrics", "", "--run-dir", str(folder / "run")]
        command += [part for domain in domains for part in ("--domain", domain)]
        self._domains = domains
        self.log = folder / "gateway.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=ROOT_FOLDER, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=log, stderr=log
            )
        self._stop = threading.Event()
        self._driver = threading.Thread(target=self._drive, name="driver")

    def _port(self) -> int | None:
        assert self._process.poll() is None, self.log.read_text()
        found = re.search(r"serving on port (\d+)", self.log.read_text())
        return int(found[1]) if found else None

    def _drive(self) -> None:
        connection = Connection(f"127.0.0.1:{until(self._port, 'the gateway')}")
        with RoadshiftClient(connection) as client:
            number = 0
            while not self._stop.wait(_FRAME_PAUSE_S):
                settings = FrameSettings("car-1", f"drive-{number // 40}", self._domains[number % len(self._domains)])
                try:
                    client.segment(STREETS[number % len(STREETS)], settings)
                except RequestFailed:
                    continue  # while it changes versions
                number += 1

    def __enter__(self) -> Self:
        self._driver.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._driver.join()
        self._process.terminate()
        self._process.wait(30)
