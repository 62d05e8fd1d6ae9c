"""A candidate gets its share of drives and its shadow copies, and cannot lose a frame of anybody's."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import generate_latest
from roadshift.v1 import segmentation_pb2 as pb

from exchange.fleet.engine_busy import EngineBusyReader
from exchange.fleet.gateways import VersionHealth, read_heartbeats
from exchange.label_space import NUM_CLASSES
from exchange.plan.serving_plan import Candidate, DomainPlan
from exchange.storage import StorageRoot, open_root
from server.errors import EngineFailed
from server.rollout.candidates import ERRORS_IN_A_ROW, JUDGED_FROM_FRAMES, Candidates
from server.rollout.version_counts import VersionCounts
from server.routing import CandidatePlan, ServingPlan
from server.segmenter import FakeBehavior, FakeSegmenter
from tests.gateways import Served, StartGateway, eventually
from tests.plans import publish_releases, write_plan

SHARE = 0.4
DRIVES = 40


@pytest.fixture
def root(tmp_path: Path) -> StorageRoot:
    root = open_root(str(tmp_path / "root"))
    publish_releases(root, 2)
    return root


@pytest.fixture
def serve(start_gateway: StartGateway, root: StorageRoot, tmp_path: Path) -> Callable[..., Any]:
    """serve(share, shadow_share): version 1 serves, 2 is the candidate, and ready."""

    async def start(share: float = 0.0, shadow_share: float = 0.0, **settings: Any) -> Served:
        write_plan(root, plan(share, shadow_share))
        served = await start_gateway(root=root.url, run_dir=tmp_path / "run", gateway="gw", **settings)
        await eventually(lambda: 2 in served.segmenter.versions)
        served.segmenter.behaviors[2] = FakeBehavior()
        return served

    return start


def plan(share: float, shadow_share: float = 0.0, **fields: Any) -> DomainPlan:
    return DomainPlan(serving=1, candidate=Candidate(version=2, share=share, shadow_share=shadow_share), **fields)


def health(served: Served, version: int = 2) -> VersionHealth:
    return served.gateway.vitals.versions()[version]


async def ask(served: Served, frame: pb.Frame, drive: int, **fields: Any) -> int:
    request = pb.SegmentRequest(frame=frame, vehicle_id=f"car-{drive % 7}", drive_id=f"drive-{drive}", **fields)
    answer = await served.stub.Segment(request)
    return int(answer.model_version)


async def ask_all(served: Served, frame: pb.Frame, count: int = DRIVES) -> list[int]:
    return [await ask(served, frame, drive) for drive in range(count)]


def drives_of(share: float, version: int = 2) -> set[int]:
    candidate = CandidatePlan(version, share)
    return {number for number in range(4000) if candidate.answers("car-1", f"drive-{number}")}


def test_a_share_is_of_drives_and_grows_without_moving_one_back() -> None:
    none, few, many, all_of_them = (drives_of(share) for share in (0.0, 0.1, 0.5, 1.0))
    assert none == set()
    assert len(few) / 4000 == pytest.approx(0.1, abs=0.02)
    assert len(many) / 4000 == pytest.approx(0.5, abs=0.03)
    assert len(all_of_them) == 4000
    assert few < many
    assert len(drives_of(0.1, version=3) & few) / 4000 == pytest.approx(0.01, abs=0.01)  # others, for the next one


async def test_a_drive_is_answered_by_one_version_throughout(
    serve: Callable[..., Any], frame_message: pb.Frame
) -> None:
    served = await serve(share=SHARE)
    first = await ask_all(served, frame_message)
    assert set(first) == {1, 2}
    assert await ask_all(served, frame_message) == first
    counted = {version: health(served, version).requests for version in (1, 2)}
    assert counted == {version: 2 * count for version, count in Counter(first).items()}


async def test_a_candidate_that_is_not_ready_leaves_its_share_to_serving(
    serve: Callable[..., Any], frame_message: pb.Frame
) -> None:
    served = await serve(share=1.0)
    served.segmenter.behaviors[2].load_failure = "no room for it"
    lost = served.segmenter.versions.pop(2)
    assert set(await ask_all(served, frame_message, 5)) == {1}
    await eventually(lambda: 2 in served.gateway.vitals.versions() and health(served).trouble == "no room for it")
    assert not health(served).loaded
    served.segmenter.versions[2] = lost
    assert set(await ask_all(served, frame_message, 5)) == {2}
    await eventually(lambda: health(served).trouble is None)


async def test_a_failing_candidate_loses_no_frame_and_is_left_until_the_plan_says_something_else_of_it(
    serve: Callable[..., Any], root: StorageRoot, frame_message: pb.Frame
) -> None:
    served = await serve(share=1.0)
    assert await ask(served, frame_message, 0) == 2
    served.segmenter.behaviors[2].failure = EngineFailed("it computes nonsense")
    assert set(await ask_all(served, frame_message, 20)) == {1}
    left = health(served)
    assert (left.errors, left.requests, left.loaded) == (ERRORS_IN_A_ROW, ERRORS_IN_A_ROW + 1, True)
    assert left.trouble == f"{ERRORS_IN_A_ROW} errors in a row, the last: it computes nonsense"
    assert health(served, 1).errors == 0
    await eventually(lambda: any(beat.versions[2].trouble == left.trouble for beat in read_heartbeats(root)))

    served.segmenter.behaviors[2].failure = None
    write_plan(root, plan(1.0, prior_id="another prior"))
    await eventually(lambda: served.gateway.router.plan.revision == 2)
    assert await ask(served, frame_message, 0) == 1  # the plan says of it what it said before
    write_plan(root, plan(0.9))
    await eventually(lambda: served.gateway.router.plan.revision == 3)
    assert 2 in await ask_all(served, frame_message, 10)
    assert health(served).trouble is None


async def test_errors_with_answers_between_them_are_counted_but_no_reason_to_leave(
    serve: Callable[..., Any], frame_message: pb.Frame
) -> None:
    served = await serve(share=1.0)
    for number in range(3 * ERRORS_IN_A_ROW):
        served.segmenter.behaviors[2].failure = EngineFailed("now and then") if number % 2 else None
        assert await ask(served, frame_message, 0) == (1 if number % 2 else 2)
    assert health(served).errors == 3 * ERRORS_IN_A_ROW // 2
    assert health(served).trouble is None


async def test_a_candidate_that_hangs_keeps_nobody_waiting_for_long(
    serve: Callable[..., Any], frame_message: pb.Frame
) -> None:
    served = await serve(share=SHARE, queued=64, queued_per_vehicle=32, in_flight=3)
    while health(served, 1).requests < JUDGED_FROM_FRAMES:  # then it is known how long a frame takes
        await ask_all(served, frame_message, 10)
    await asyncio.sleep(0.6)
    before = health(served).errors
    served.segmenter.behaviors[2].hangs = True
    answered = await asyncio.gather(*(ask(served, frame_message, drive) for drive in range(20)))
    assert set(answered) == {1}
    assert 1 <= health(served).errors - before <= 3  # as many as were in flight; nobody else was given to it
    assert set(await ask_all(served, frame_message, 5)) == {1}
    served.segmenter.behaviors[2].hangs = False
    candidates = next(
        drive for drive in range(20) if CandidatePlan(2, SHARE).answers(f"car-{drive % 7}", f"drive-{drive}")
    )
    while await ask(served, frame_message, candidates) != 2:
        await asyncio.sleep(0.01)


async def test_a_frame_whose_deadline_leaves_no_time_for_two_attempts_is_served_at_once(
    serve: Callable[..., Any], root: StorageRoot, frame_message: pb.Frame
) -> None:
    served = await serve(share=1.0)
    served.segmenter.latency_s = 0.05
    write_plan(root, plan(0.0))
    await eventually(lambda: served.gateway.router.plan.revision == 2)
    await ask_all(served, frame_message, JUDGED_FROM_FRAMES)
    write_plan(root, plan(1.0))
    await eventually(lambda: served.gateway.router.plan.revision == 3)
    await asyncio.sleep(0.6)
    assert await ask(served, frame_message, 0) == 2
    p99_s = health(served, 1).engine_p99_s
    assert p99_s is not None
    answer = await served.stub.Segment(pb.SegmentRequest(frame=frame_message), timeout=1.9 * p99_s)
    assert answer.model_version == 1


async def test_a_slow_candidate_is_left(serve: Callable[..., Any], frame_message: pb.Frame) -> None:
    served = await serve(share=0.5)
    served.segmenter.behaviors[2].latency_s = 0.1
    while health(served).trouble is None:
        await ask_all(served, frame_message, 10)
    assert "too slow: 10 % of its frames take" in str(health(served).trouble)
    assert set(await ask_all(served, frame_message, 10)) == {1}


@pytest.mark.parametrize(("slow", "is_left"), [(2, False), (6, True)])
def test_a_candidate_is_left_for_many_slow_frames_in_fifty(slow: int, is_left: bool) -> None:
    counts, pixels_K = VersionCounts(), np.zeros(NUM_CLASSES, np.int64)
    for number in range(JUDGED_FROM_FRAMES):
        counts.shadowed(1, 0.01, pixels_K, pixels_K)
        counts.shadowed(2, 0.3 if number < slow else 0.01, pixels_K, pixels_K)
    candidates = Candidates(FakeSegmenter(), counts)
    served = ServingPlan.single_release(1)
    tried = replace(served.default, candidate=CandidatePlan(2, 0.5))
    candidates.review(replace(served, default=tried))
    assert (2 in candidates.left) == is_left


@pytest.mark.parametrize(("shift", "disagreement"), [(0, 0.0), (1, 1.0)])
async def test_shadow_copies_tell_where_a_candidate_would_answer_otherwise(
    serve: Callable[..., Any], frame_message: pb.Frame, root: StorageRoot, shift: int, disagreement: float
) -> None:
    served = await serve(share=0.0, shadow_share=1.0)
    served.segmenter.behaviors[2].class_shift = shift
    for drive in range(5):
        assert await ask(served, frame_message, drive) == 1
        await eventually(lambda drive=drive: health(served).shadow_frames == drive + 1)
    assert health(served).disagreement == (disagreement,) * 19
    assert (health(served).requests, health(served).p99_s) == (0, None)
    assert health(served).engine_p99_s is not None
    await eventually(lambda: any(beat.versions[2].shadow_frames == 5 for beat in read_heartbeats(root)))


async def test_shadow_copies_wait_for_an_idle_engine_and_give_way(
    serve: Callable[..., Any], frame_message: pb.Frame
) -> None:
    served = await serve(share=0.0, shadow_share=1.0, queued=64, queued_per_vehicle=32)
    served.segmenter.latency_s = 0.01
    inferred = served.segmenter.inferred_frames
    await asyncio.gather(*(ask(served, frame_message, drive) for drive in range(20)))
    assert served.segmenter.inferred_frames <= inferred + 20 + 1
    dropped = served.gateway.vitals.shadow_dropped()
    assert dropped >= 14
    await eventually(lambda: health(served).shadow_frames == 20 - served.gateway.vitals.shadow_dropped())


async def test_a_shadow_that_fails_is_left_too(serve: Callable[..., Any], frame_message: pb.Frame) -> None:
    served = await serve(share=0.0, shadow_share=1.0)
    served.segmenter.behaviors[2].failure = EngineFailed("out of memory")
    for drive in range(ERRORS_IN_A_ROW):
        assert await ask(served, frame_message, drive) == 1
        await eventually(lambda drive=drive: health(served).errors == drive + 1)
    assert "out of memory" in str(health(served).trouble)


async def test_prometheus_shows_drops_and_each_version(serve: Callable[..., Any], frame_message: pb.Frame) -> None:
    served = await serve(share=SHARE, shadow_share=1.0)
    served.segmenter.behaviors[2].class_shift = 1
    await ask_all(served, frame_message, 10)
    await eventually(lambda: health(served).shadow_frames > 0)
    served.segmenter.behaviors[2].failure = EngineFailed("broken")
    await ask_all(served, frame_message)
    text = generate_latest(served.gateway.metrics.registry).decode()
    assert "car-" not in text
    value = served.gateway.metrics.registry.get_sample_value
    for what in ("shadow", "presence", "capture"):
        assert value("roadshift_dropped_total", {"what": what}) is not None
    assert value("roadshift_capture_conflicts_total") == 0
    assert value("roadshift_version_errors_total", {"version": "2"}) == health(served).errors > 0
    assert value("roadshift_version_trouble", {"version": "2"}) == 1
    assert value("roadshift_version_trouble", {"version": "1"}) == 0
    assert value("roadshift_version_disagreement_ratio", {"version": "2", "class_name": "road"}) == 1
    assert value("roadshift_version_disagreement_ratio", {"version": "1", "class_name": "road"}) is None
    assert value("roadshift_version_duration_seconds", {"version": "1", "part": "total", "percentile": "99"})
    assert value("roadshift_engine_busy_seconds_total") > 0


async def test_the_signal_for_trainings_is_given_while_a_frame_is_inferred(
    serve: Callable[..., Any], frame_message: pb.Frame, tmp_path: Path
) -> None:
    served = await serve()
    reader = EngineBusyReader(tmp_path / "run" / "engine_busy")
    assert not reader.is_busy()
    served.segmenter.gate.clear()
    call = asyncio.create_task(ask(served, frame_message, 0))
    await eventually(reader.is_busy)
    served.segmenter.gate.set()
    await call
    assert not reader.is_busy()
    assert served.gateway.vitals.engine_busy_s() > 0
