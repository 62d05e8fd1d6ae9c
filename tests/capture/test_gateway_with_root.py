"""A gateway that shares a root with the learner: what its answers leave there, and what the plan does to them."""

import asyncio
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from roadshift.v1 import segmentation_pb2 as pb
from roadshift.v1 import segmentation_pb2_grpc as pb_grpc

from adaptation.cli.erase_command import erase_vehicle
from exchange.fleet.frames import read_shard
from exchange.fleet.gateways import Heartbeat, read_heartbeats
from exchange.fleet.presence import PresenceReader, PresenceRows
from exchange.fleet.pseudonyms import Pseudonyms
from exchange.plan.lease import holding
from exchange.plan.serving_plan import DomainPlan, PlanContent, change_plan
from exchange.storage import StorageRoot, open_root
from exchange.storage.locations import erasure_key
from server.assembly import join_root, running_gateway
from server.engine_start import StartedEngine
from server.errors import EngineFailed
from server.segmenter import FakeSegmenter
from server.settings import GatewaySettings
from tests.gateways import FRAME_SIZE_HW, Served, eventually

ROADSHIFT = Path(sys.executable).parent / "roadshift"
RATIO = tuple(0.5 if k == 3 else 0.0 for k in range(19))


@asynccontextmanager
async def serving(run_dir: Path, **settings: Any) -> AsyncIterator[Served]:
    """A gateway around the fake; it hands on what it has at the end."""
    segmenter = FakeSegmenter(FRAME_SIZE_HW)
    chosen = GatewaySettings(listen="127.0.0.1:0", metrics="", run_dir=run_dir, **settings)
    async with running_gateway(chosen, StartedEngine(segmenter, 1), *join_root(chosen)) as gateway:
        address = f"127.0.0.1:{gateway.port}"
        async with grpc.aio.insecure_channel(address) as channel:
            yield Served(gateway, segmenter, address, channel)


def rows_of(root: StorageRoot, domain: str) -> PresenceRows:
    return PresenceReader(root, domain).rows_since(datetime.now(UTC) - timedelta(hours=1))


def heartbeat_of(root: StorageRoot) -> Heartbeat | None:
    found = read_heartbeats(root)
    return found[0] if found else None


def noise(seed: int) -> pb.Frame:
    height, width = FRAME_SIZE_HW
    data = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8).tobytes()
    return pb.Frame(data=data, format="rgb8", frame_id=str(seed), height=height, width=width)


async def ask(gateway: Served, frame: pb.Frame, **fields: Any) -> pb.SegmentResponse:
    answer = await gateway.stub.Segment(pb.SegmentRequest(frame=frame, **fields))
    assert isinstance(answer, pb.SegmentResponse)
    return answer


async def test_every_answer_leaves_a_row_and_a_gateway_that_ends_hands_on_its_frames(
    root_url: str, root: StorageRoot, tmp_path: Path
) -> None:
    async with serving(tmp_path / "run", root=root_url, gateway="gw-a", domains=("sim-day",)) as gateway:
        captured = datetime.now(UTC) - timedelta(minutes=5)
        for seed in range(6):
            frame = noise(seed)
            frame.timestamp.FromDatetime(captured + timedelta(seconds=seed))
            await ask(gateway, frame, vehicle_id=f"car-{seed % 2}", domain="sim-day" if seed < 4 else "elsewhere")
        with pytest.raises(grpc.aio.AioRpcError):
            await ask(gateway, pb.Frame(data=b"broken", format="jpeg"), vehicle_id="car-0")
        await eventually(lambda: len(rows_of(root, "sim-day")) == 4 and len(rows_of(root, "default")) == 2, 30.0)
        assert rows_of(root, "sim-day").captured_s_N[0] == pytest.approx(captured.timestamp())
        await eventually(lambda: (beat := heartbeat_of(root)) is not None and beat.versions[1].requests == 6, 30.0)
        beat = heartbeat_of(root)
        assert beat is not None
        assert (beat.gateway, beat.plan_revision, beat.presence_dropped, beat.capture_dropped) == ("gw-a", 0, 0, 0)
        assert (beat.versions[1].loaded, beat.versions[1].errors) == (True, 0)
        assert beat.versions[1].p99_s is not None
        assert root.list_objects("frames") == []  # the interval is not over
    shards = {info.key.split("/")[1]: info.key for info in root.list_objects("frames")}
    frames = {domain: list(read_shard(root.read(key).data, key)) for domain, key in shards.items()}
    assert {domain: len(found) for domain, found in frames.items()} == {"sim-day": 4, "default": 2}
    assert {found.image for found in frames["sim-day"]} == {noise(seed).data for seed in range(4)}


async def test_a_new_prior_changes_answers_without_a_restart(
    root_url: str, root: StorageRoot, tmp_path: Path, frame_message: pb.Frame
) -> None:
    async with serving(tmp_path / "run", root=root_url) as gateway:
        assert (await ask(gateway, frame_message)).prior_id == "none"
        with holding(root, "test") as lease:
            plan = DomainPlan(serving=1, prior_id="p1", log_prior_ratio={1: RATIO})
            change_plan(root, lease, lambda _: PlanContent(plan, {}))
        while (await ask(gateway, frame_message)).prior_id != "p1":
            await asyncio.sleep(0.02)
        await eventually(lambda: (beat := heartbeat_of(root)) is not None and beat.plan_revision == 1, 30.0)
        assert gateway.segmenter.restarts == 0


async def test_an_engine_that_fails_is_told(
    root_url: str, root: StorageRoot, tmp_path: Path, frame_message: pb.Frame
) -> None:
    async with serving(tmp_path / "run", root=root_url) as gateway:
        gateway.segmenter.failure = EngineFailed("broken")
        for _ in range(3):
            with pytest.raises(grpc.aio.AioRpcError):
                await ask(gateway, frame_message)
        await eventually(lambda: (beat := heartbeat_of(root)) is not None and 1 in beat.versions, 30.0)
        await eventually(lambda: (beat := heartbeat_of(root)) is not None and beat.versions[1].errors == 3, 30.0)


async def test_a_root_that_is_away_costs_no_answer(tmp_path: Path, frame_message: pb.Frame) -> None:
    """The root's folder is taken away under a gateway that serves; its rows arrive when it is back."""
    folder = tmp_path / "root"
    async with serving(tmp_path / "run", root=str(folder)) as gateway:
        await ask(gateway, frame_message)
        folder.rename(tmp_path / "away")
        folder.touch()
        for _ in range(20):
            assert (await ask(gateway, frame_message)).model_version == 1
        folder.unlink()
        (tmp_path / "away").rename(folder)
        await eventually(lambda: len(rows_of(open_root(str(folder)), "default")) == 21, 60.0)


async def test_without_a_root_nothing_is_written(tmp_path: Path, frame_message: pb.Frame) -> None:
    async with serving(tmp_path / "run") as gateway:
        await ask(gateway, frame_message)
        assert not (tmp_path / "run").exists()


async def test_an_erased_vehicle_is_in_no_hands_any_more(root_url: str, root: StorageRoot, tmp_path: Path) -> None:
    """Rows in the root, rows in memory, frames in the spool: all of one vehicle's go, and none of the other's."""
    async with serving(tmp_path / "run", root=root_url) as gateway:
        for seed in range(8):
            await ask(gateway, noise(seed), vehicle_id=f"car-{seed % 2}", drive_id="d")
        await eventually(lambda: len(rows_of(root, "default")) == 8, 30.0)
        for seed in range(8, 12):
            await ask(gateway, noise(seed), vehicle_id=f"car-{seed % 2}", drive_id="d")
        pseudonyms = Pseudonyms.from_file(tmp_path / "run" / "spool" / "pseudonym.key")
        erased, silent = await asyncio.to_thread(erase_vehicle, root, pseudonyms.vehicle("car-0"), 60.0)
        assert silent == []
        assert erased.presence_rows >= 4
    drives = Counter(rows_of(root, "default").drive_N.tolist())
    assert drives == {pseudonyms.drive("car-1", "d"): 6}
    (shard,) = root.list_objects("frames")
    frames = list(read_shard(root.read(shard.key).data, shard.key))
    assert {frame.metadata.vehicle for frame in frames} == {pseudonyms.vehicle("car-1")}
    assert len(frames) == 6


def test_a_killed_gateway_leaves_its_root_whole(root_url: str, root: StorageRoot, tmp_path: Path) -> None:
    """kill -9 again and again under load: what is there reads back whole, and no captured frame is there twice."""
    settings = {"ROADSHIFT_RUN_DIR": str(tmp_path / "run"), "ROADSHIFT_CAPTURE_INTERVAL_S": "0.5"}
    command = [ROADSHIFT, "serve", "--fake", "--listen", "127.0.0.1:0", "--metrics", "", "--root", root_url]
    answered = 0
    for life in range(3):
        with subprocess.Popen(
            command, env={**os.environ, **settings}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            try:
                assert process.stdout is not None
                port = int(process.stdout.readline().rsplit(" ", 1)[1])
                with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                    stub = pb_grpc.SegmentationStub(channel)
                    until_s = time.monotonic() + 3.0
                    while time.monotonic() < until_s or len(rows_of(root, "default")) < life + 1:
                        stub.Segment(pb.SegmentRequest(frame=noise(answered), vehicle_id="car-1", drive_id="d"))
                        answered += 1
            finally:
                process.kill()
    keys = [
        frame.metadata.key
        for info in root.list_objects("frames")
        for frame in read_shard(root.read(info.key).data, info.key)
    ]
    assert keys
    assert len(keys) == len(set(keys))
    assert 0 < len(rows_of(root, "default")) <= answered


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b'{"format": 99, "vehicles": "later"}'])
async def test_objects_that_cannot_be_read_stop_no_gateway_and_an_erasure_holds_by_its_key(
    root_url: str, root: StorageRoot, tmp_path: Path, body: bytes
) -> None:
    run_dir = tmp_path / "run"
    (run_dir / "spool").mkdir(parents=True)
    pseudonyms = Pseudonyms.from_file(run_dir / "spool" / "pseudonym.key", create=True)
    foreign = ("erasures/README.txt", "presence/README.txt", "frames/default/gw-a/notes.txt", "frames/No.Domain/x.tar")
    for key in (*foreign, "gateways/gw-x.json", "frames/default/gw-a/9Z-1.tar"):
        root.write(key, body)
    async with serving(run_dir, root=root_url, gateway="gw-a") as gateway:
        for seed in range(6):
            await ask(gateway, noise(seed), vehicle_id=f"car-{seed % 2}", drive_id="d")
        root.write(erasure_key(datetime.now(UTC), pseudonyms.vehicle("car-0")), body)
        await eventually(lambda: any(b.erasures_applied == 1 for b in read_heartbeats(root)), 30.0)
        _, silent = await asyncio.to_thread(erase_vehicle, root, pseudonyms.vehicle("car-0"), 60.0)
        assert silent == [], "what is no erasure is not waited for"
        counted = {
            folder: gateway.gateway.metrics.registry.get_sample_value(
                "roadshift_unreadable_objects_total", {"folder": folder}
            )
            for folder in ("erasures", "presence", "frames", "audit")
        }
    assert counted == {"erasures": 2, "presence": 1, "frames": 3, "audit": 0}
    (shard,) = [info.key for info in root.list_objects("frames") if info.key.endswith("-3.tar")]
    frames = list(read_shard(root.read(shard).data, shard))
    assert {frame.metadata.vehicle for frame in frames} == {pseudonyms.vehicle("car-1")}
    assert Counter(rows_of(root, "default").drive_N.tolist()) == {pseudonyms.drive("car-1", "d"): 3}
    for key in foreign:
        assert root.read(key).data == body, "nothing is deleted because it cannot be read"
