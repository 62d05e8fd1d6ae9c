"""A whole rollout on a real tritonserver, under load: candidate, promotion, rollback, and a process that dies between.

The releases are the starter and a tiny one, so that no two answers can be mistaken for each other.
"""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray
from roadshift.v1 import segmentation_pb2 as pb
from roadshift.v1 import segmentation_pb2_grpc as pb_grpc

from exchange.fleet.gateways import VersionHealth, read_heartbeats
from exchange.label_space import NUM_CLASSES
from exchange.plan.serving_plan import Candidate, DomainPlan
from exchange.registry import publish
from exchange.registry.releases import read_manifest
from exchange.storage import StorageRoot, open_root
from server.assembly import Gateway, join_root, running_gateway
from server.engine_start import started_engine
from server.rollout.plan_follower import present_plan
from server.settings import STARTER_RELEASE, GatewaySettings
from server.triton.stubs import find_stubs
from tests.plans import write_plan

STARTER, TINY = 1, 2
DRIVES = 6
NO_ADJUSTMENT_K = np.zeros(NUM_CLASSES, np.float32)
Until = Callable[[Callable[[], bool]], Awaitable[None]]


@dataclass
class Load:
    """Two vehicles that send one frame again and again, on several drives: what came of it."""

    answers: list[tuple[float, int, int, bytes]] = field(default_factory=list)
    """When the frame was sent, the version, the drive, and the labels."""
    refusals: list[grpc.StatusCode] = field(default_factory=list)

    def versions(self, sent_after_s: float = 0.0) -> set[int]:
        return {version for sent_s, version, _, _ in self.answers if sent_s > sent_after_s}

    def drives(self, sent_after_s: float) -> set[tuple[int, int]]:
        """Return each drive with each version that has answered it."""
        return {(drive, version) for sent_s, version, drive, _ in self.answers if sent_s > sent_after_s}

    async def next_from(self, version: int, until: Until) -> None:
        """Waits until this version has answered a frame that is sent from now on."""
        now_s = time.monotonic()
        await until(lambda: version in self.versions(now_s))


@dataclass
class Serving:
    gateway: Gateway
    triton_pid: Callable[[], int]
    address: str

    def health(self, version: int) -> VersionHealth:
        return self.gateway.vitals.versions()[version]

    def stop_stub(self, version: int, how: signal.Signals) -> None:
        for stub in find_stubs(self.triton_pid()):
            if stub.version == version:
                os.kill(stub.pid, how)


@asynccontextmanager
async def serving(root: StorageRoot, run_dir: Path) -> AsyncIterator[Serving]:
    """As `roadshift serve` puts it together."""
    settings = GatewaySettings(
        listen="127.0.0.1:0", metrics="", root=root.url, gateway="gw", run_dir=run_dir, frames_at_once=1
    )
    link, releases = join_root(settings)
    assert releases is not None
    plan = present_plan(root, releases)
    async with (
        started_engine(settings, releases, plan) as engine,
        running_gateway(settings, engine, link, releases) as gateway,
    ):
        yield Serving(gateway, lambda: _tritonserver_of(os.getpid()), f"127.0.0.1:{gateway.port}")


def _tritonserver_of(parent: int) -> int:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        name, _, fields = stat.read_text().rpartition(")")
        if name.endswith("(tritonserver") and int(fields.split()[1]) == parent:
            return int(stat.parent.name)
    raise AssertionError("no tritonserver runs")


@asynccontextmanager
async def driving(address: str, frame: pb.Frame) -> AsyncIterator[Load]:
    load, ended = Load(), asyncio.Event()

    async def drive(vehicle: int, stub: Any) -> None:
        options = pb.SegmentOptions(label_encoding=pb.LABEL_ENCODING_RAW)
        number = vehicle
        while not ended.is_set():
            name = number % DRIVES
            request = pb.SegmentRequest(
                frame=frame, vehicle_id=f"car-{vehicle}", drive_id=f"drive-{name}", options=options
            )
            sent_s = time.monotonic()
            try:
                answer = await stub.Segment(request)
                load.answers.append((sent_s, answer.model_version, name, answer.labels.data))
            except grpc.aio.AioRpcError as error:
                load.refusals.append(error.code())
                await asyncio.sleep(0.05)
            number += 2

    async with grpc.aio.insecure_channel(address) as channel:
        vehicles = [asyncio.create_task(drive(vehicle, pb_grpc.SegmentationStub(channel))) for vehicle in range(2)]
        try:
            yield load
        finally:
            ended.set()
            await asyncio.gather(*vehicles)


def coarse_noise(frame_size: tuple[int, int]) -> NDArray[np.uint8]:
    rows, columns = frame_size
    coarse = np.random.default_rng(0).integers(0, 256, (rows // 32, columns // 32, 3), np.uint8)
    return np.ascontiguousarray(coarse.repeat(32, 0).repeat(32, 1))


def message(image_HW3: NDArray[np.uint8]) -> pb.Frame:
    rows, columns = image_HW3.shape[:2]
    return pb.Frame(data=image_HW3.tobytes(), format="rgb8", height=rows, width=columns)


async def test_candidate_promotion_and_rollback_under_load_lose_no_frame(
    make_release: Callable[..., Any], tmp_path: Path, until: Until
) -> None:
    frame_size = read_manifest(STARTER_RELEASE).frame_size
    root, tiny = open_root(str(tmp_path / "root")), make_release(frame_size)
    assert publish(root, STARTER_RELEASE, by="test", origin="starter").version == STARTER
    assert publish(root, tiny.path, by="test", origin="added").version == TINY
    write_plan(root, DomainPlan(serving=STARTER))
    image_HW3 = coarse_noise(frame_size)
    labels = {TINY: tiny.expected_labels(image_HW3, NO_ADJUSTMENT_K).tobytes()}

    async with serving(root, tmp_path / "run") as served:
        async with driving(served.address, message(image_HW3)) as load:
            await load.next_from(STARTER, until)
            assert load.versions() == {STARTER}
            labels[STARTER] = load.answers[0][3]
            assert labels[STARTER] != labels[TINY]

            write_plan(root, DomainPlan(serving=STARTER, candidate=Candidate(version=TINY, share=0.5)))
            await load.next_from(TINY, until)
            since_s = time.monotonic()  # frames sent before may have been routed before
            await until(lambda: len(load.drives(since_s)) >= DRIVES)
            drives = load.drives(since_s)
            assert len(drives) == len({drive for drive, _ in drives})  # one version for each
            assert {version for _, version in drives} == {STARTER, TINY}

            served.stop_stub(TINY, signal.SIGKILL)
            await until(lambda: not served.health(TINY).loaded)
            await load.next_from(STARTER, until)
            await load.next_from(TINY, until)  # repaired, and not left for one death

            write_plan(root, DomainPlan(serving=TINY, previous=STARTER))
            await until(lambda: served.gateway.router.route("").version == TINY)
            promoted_s = time.monotonic()
            await load.next_from(TINY, until)
            assert load.versions(promoted_s) == {TINY}

            write_plan(root, DomainPlan(serving=STARTER, previous=TINY))
            await until(lambda: served.gateway.router.route("").version == STARTER)
            rolled_back_s = time.monotonic()
            await load.next_from(STARTER, until)
            assert load.versions(rolled_back_s) == {STARTER}
            assert load.refusals == []

            served.stop_stub(STARTER, signal.SIGKILL)  # the one that serves: refused for a moment, never lost
            await until(lambda: not served.health(STARTER).loaded)
            await load.next_from(STARTER, until)
            assert set(load.refusals) <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert all(data == labels[version] for _, version, _, data in load.answers)
        await until(lambda: any(beat.plan_revision == 4 for beat in read_heartbeats(root)))


async def test_a_candidates_process_that_is_stopped_costs_no_answer_without_a_status(
    make_release: Callable[..., Any], tmp_path: Path, until: Until
) -> None:
    frame_size = (64, 128)
    root, releases = open_root(str(tmp_path / "root")), {1: make_release(frame_size), 2: make_release(frame_size, 40.0)}
    for version, release in releases.items():
        assert publish(root, release.path, by="test", origin="added").version == version
    write_plan(root, DomainPlan(serving=1, candidate=Candidate(version=2, share=0.5)))
    image_HW3 = coarse_noise(frame_size)

    async with serving(root, tmp_path / "run") as served:
        async with driving(served.address, message(image_HW3)) as load:
            await load.next_from(2, until)
            served.stop_stub(2, signal.SIGSTOP)
            stopped_s = time.monotonic()
            await load.next_from(1, until)
            assert load.versions(stopped_s) == {1}
            await load.next_from(2, until)  # killed, and loaded anew
        # Triton 2.51 aborts where a process neither lives nor dies: then all versions are away for a moment.
        assert set(load.refusals) <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}
        for _, version, _, data in load.answers:
            assert data == releases[version].expected_labels(image_HW3, NO_ADJUSTMENT_K).tobytes()


async def test_a_gateway_whose_planned_release_does_not_load_starts_with_the_previous_one(
    make_release: Callable[..., Any], tmp_path: Path, until: Until
) -> None:
    root = open_root(str(tmp_path / "root"))
    for version, release in ((1, make_release()), (2, make_release(broken=True))):
        assert publish(root, release.path, by="test", origin="added").version == version
    write_plan(root, DomainPlan(serving=2, previous=1))
    async with serving(root, tmp_path / "run") as served:
        async with driving(served.address, message(coarse_noise((64, 128)))) as load:
            await load.next_from(1, until)
        assert (load.versions(), load.refusals) == ({1}, [])
        assert "Unable to read the model" in str(served.health(2).trouble)
        assert served.gateway.router.plan.revision == 0
