"""Gateways and learner are upgraded one after the other, beside a newer minor's writes, while vehicles drive.

There is one version of the code: a newer minor is played by its writes, and each upgrade by a stop and a start.
"""

import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import grpc
import pytest
from roadshift.v1 import annotation_pb2 as annotation
from roadshift.v1 import annotation_pb2_grpc as annotation_grpc
from roadshift.v1 import operations_pb2 as operations

from adaptation.control.rounds.round_state import Phase, RoundState, read_round, round_key
from exchange.fleet.frames import read_shard
from exchange.fleet.gateways import Heartbeat, read_heartbeats
from exchange.fleet.presence import PresenceReader
from exchange.plan.priors import PriorRecord, read_prior
from exchange.plan.serving_plan import ServingPlan, read_plan
from exchange.regions.batches import read_batches
from exchange.regions.tasks import RegionBatch
from exchange.registry import fetch_release, read_ledger
from exchange.storage import StorageRoot, open_root
from exchange.storage.locations import heartbeat_key, prior_key, region_batch_key
from tests.monitoring.deployment import running_gateway
from tests.rounds.conftest import write_frames
from tests.service.learner_rig import LearnerProcess, leave_frames, make_hollow_release, phase_reached, until
from tests.upgrade.newer_minor import add_newer_fields_beside, lacking
from tests.upgrade.test_newer_major import REMEDY, of_format_2
from tests.upgrade.vehicles_under_way import Fleet
from tests.upgrade.write_root import DOMAIN

RELEASE_ROOT = Path(__file__).parent / "roots" / "0.1"
LABELLED, BATCH = "sim-day", "20261201T031624Z-000001"
GATEWAYS = ("gw-a", "gw-b")
VEHICLES = 4
FOR_EVER = ("--shadow-share", "0", "--shadow-s", "3600")
QUICK = ("--shadow-share", "0", "--shadow-s", "0", "--bake-s", "0", "--fewest-frames", "0", "--watch-s", "0")
"""No candidate is judged by how quick it is on a machine where processes start."""
PASSING = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.RESOURCE_EXHAUSTED}


class Site:
    """The processes on a copy of the kept root."""

    def __init__(self, scratch: Path) -> None:
        self.begun = datetime.now(UTC)
        self.scratch = scratch
        self.folder = shutil.copytree(RELEASE_ROOT, scratch / "root")
        self.root = open_root(f"file://{self.folder}")
        leave_frames(self.root, DOMAIN, 12)
        self.source, self.hollow = write_frames(scratch / "day", 1.0, cars=1), make_hollow_release(scratch)
        self.release = fetch_release(self.root, 1, scratch / "fetched")
        self.ports: dict[str, int] = {}
        self._running: dict[str, tuple[ExitStack, subprocess.Popen[bytes]]] = {}

    def learner(self, name: str, *options: str, wait: bool = True) -> LearnerProcess:
        options = ("--fake", "--release", str(self.hollow), *options)
        return LearnerProcess(self.root.url, self.source, self.scratch / name, *options, wait=wait)

    def start(self, gateway: str) -> None:
        folder, stack = self.scratch / gateway, ExitStack()
        folder.mkdir(exist_ok=True)
        running = running_gateway(folder, self.root.url, self.release, gateway)
        process, (self.ports[gateway], _) = stack.enter_context(running)
        self._running[gateway] = stack, process

    def stop(self, gateway: str) -> None:
        """By SIGTERM; returns when it has drained and handed on what it had."""
        stack, process = self._running.pop(gateway)
        stack.close()
        assert process.returncode == 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for stack, _process in self._running.values():
            stack.close()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("ROADSHIFT_CAPTURE_INTERVAL_S", "2")
    with Site(tmp_path) as site:
        yield site


def captured_keys(site: Site) -> Counter[str]:
    """How often each frame is there that was captured here; the kept root's become too old one day."""
    read, shards = site.root.read, site.root.list_objects("frames")
    frames = [frame.metadata for info in shards for frame in read_shard(read(info.key).data, info.key)]
    return Counter(frame.key for frame in frames if frame.captured_at > site.begun)


def presence_us(site: Site) -> Counter[int]:
    """How often each frame of the vehicles has a row, by its time of capture."""
    rows = PresenceReader(site.root, DOMAIN).rows_since(site.begun)
    return Counter(round(captured_s * 1e6) for captured_s in rows.captured_s_N if captured_s > site.begun.timestamp())


def have_left_something(root: StorageRoot, since: datetime) -> bool:
    """Whether every gateway has handed on frames and presence of its own."""
    shards = [info.key for info in root.list_objects("frames") if info.modified_s > since.timestamp()]
    parts = [info.key for info in root.list_objects("presence") if info.modified_s > since.timestamp()]
    return all(any(f"/{name}/" in key for key in keys) for name in GATEWAYS for keys in (shards, parts))


def confirmed(root: StorageRoot, since: datetime, *names: str) -> bool:
    """Whether gateways that were started since serve the plan as it is now."""
    stored = read_plan(root)
    beats = {beat.gateway: beat for beat in read_heartbeats(root) if beat.started_at > since}
    return stored is not None and all(
        name in beats and beats[name].plan_revision == stored.plan.revision for name in names
    )


def give_label(learner: LearnerProcess, label: int) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{learner.port}") as channel:
        desk = annotation_grpc.AnnotationStub(channel)
        task = desk.Lease(annotation.LeaseRequest(annotator="ada", domain=LABELLED), timeout=30).task
        desk.Submit(annotation.SubmitRequest(task=task.id, annotator="ada", label=label), timeout=30)


def labels_of(root: StorageRoot) -> list[list[int]]:
    (batch,) = (batch for batch in read_batches(root, LABELLED) if batch.id == BATCH)
    return [[opinion.label for opinion in task.opinions] for task in batch.tasks]


def upgrade(site: Site, gateway: str, fleet: Fleet) -> None:
    """Stops a gateway, has a newer minor write meanwhile, and starts it: each while the vehicles drive on."""
    refused, answered, since = fleet.refused_by(gateway), fleet.answered_by(gateway), datetime.now(UTC)
    site.stop(gateway)
    until(lambda: fleet.refused_by(gateway) > refused, f"a frame that went elsewhere than to {gateway}")
    add_newer_fields_beside(site.root, gateway)
    assert not lacking(site.folder, heartbeat_key(gateway), Heartbeat)
    site.start(gateway)
    until(lambda: confirmed(site.root, since, gateway), f"{gateway} with the plan")
    until(lambda: fleet.answered_by(gateway) > answered, f"an answer of {gateway} after its upgrade")


def test_a_rolling_upgrade_under_load_loses_nothing(site: Site) -> None:
    root, begun = site.root, datetime.now(UTC)
    for gateway in GATEWAYS:
        site.start(gateway)
    fleet = Fleet(site.ports, DOMAIN)
    with ExitStack() as learners:
        old = learners.enter_context(site.learner("old", *FOR_EVER))
        with fleet.driving(VEHICLES):
            round_id = old.stub().StartRound(operations.StartRoundRequest(domain=DOMAIN, seed=3, by="otto")).id
            until(phase_reached(root, round_id, "rollout"), "the rollout")
            until(lambda: have_left_something(root, begun), "frames and presence of both gateways")
            frames_before, presence_before, labels_before = captured_keys(site), presence_us(site), labels_of(root)
            for gateway in GATEWAYS:
                upgrade(site, gateway, fleet)
            standby = learners.enter_context(site.learner("new", *QUICK, "--standby", wait=False))
            until(lambda: "standing by" in standby.said(), "the standby's waiting")
            assert read_round(root, round_id).phase is Phase.ROLLOUT
            add_newer_fields_beside(root, None)
            assert old.terminate() == 0
            standby.wait_until_ready()
            give_label(standby, 1)
            until(phase_reached(root, round_id, "promoted"), "the promotion")
            until(lambda: fleet.answers[-1].version == 3, "an answer by what was promoted")
        assert standby.terminate() == 0
    until(lambda: confirmed(root, begun, *GATEWAYS), "both gateways with the learner's last plan")
    for gateway in GATEWAYS:
        site.stop(gateway)

    sent, answers = Counter(fleet.sent_us), Counter(answer.captured_us for answer in fleet.answers)
    assert answers == sent, "each frame was answered once"
    assert presence_us(site) == sent, "by exactly one gateway"
    assert fleet.statuses().keys() <= PASSING
    assert {answer.version for answer in fleet.answers} == {2, 3} <= {entry.version for entry in read_ledger(root)}
    assert frames_before <= captured_keys(site)
    assert set(captured_keys(site).values()) == {1}
    assert presence_before <= presence_us(site)
    assert labels_of(root) == [*labels_before[:2], [1]]
    assert labels_before == [[0], [255], []]
    check_newer_fields(site.folder, round_id)


def check_newer_fields(folder: Path, round_id: str) -> None:
    """What a newer minor wrote is in the records that were changed afterwards: only what is new has it not."""
    assert lacking(folder, "serving_plan.json", ServingPlan) == []
    assert set(lacking(folder, round_key(round_id, "state.json"), RoundState)) == {"Event"}
    assert lacking(folder, region_batch_key(LABELLED, BATCH), RegionBatch) == ["Opinion"]
    assert set(lacking(folder, prior_key(DOMAIN), PriorRecord)) <= {"LiveEstimate"}


def test_a_later_majors_prior_and_batch_are_named_and_the_rest_goes_on(site: Site) -> None:
    root = site.root
    prior, batch = prior_key(DOMAIN), region_batch_key(LABELLED, "20261201T031625Z-000002")
    leave_frames(root, LABELLED, 12)
    root.write(batch, root.read(region_batch_key(LABELLED, BATCH)).data.replace(BATCH.encode(), batch[-28:-5].encode()))
    written = {key: of_format_2(root.read(key).data) for key in (prior, batch)}
    for key, data in written.items():
        root.write(key, data)
    site.start("gw-a")
    here, other = Fleet(site.ports, DOMAIN), Fleet(site.ports, LABELLED)
    with site.learner("learner", *QUICK) as learner:
        with here.driving(1), other.driving(2):
            until(lambda: f"{prior} is no PriorRecord" in learner.said(), "the prior's name")
            until(lambda: f"{batch} is no RegionBatch" in learner.said(), "the batch's name")
            give_label(learner, 1)
            waits, goes_on = (
                learner.stub().StartRound(operations.StartRoundRequest(domain=domain, seed=3, by="otto")).id
                for domain in (DOMAIN, LABELLED)
            )
            until(phase_reached(root, goes_on, "promoted"), "the other domain's promotion")
            assert read_round(root, waits).phase is Phase.LEARNING
            assert f"rounds: {prior} is no PriorRecord" in learner.said()
            until(lambda: read_prior(root, LABELLED).estimates, "the other domain's estimate")
            until(lambda: confirmed(root, site.begun, "gw-a"), "the gateway with the plan")
        assert learner.said().count(REMEDY) >= 2
        assert learner.terminate() == 0
    site.stop("gw-a")
    stored = read_plan(root)
    assert stored is not None
    assert (stored.plan.of(DOMAIN).serving, stored.plan.of(DOMAIN).prior_id) == (2, "none")
    assert stored.plan.of(LABELLED).serving == 3
    assert labels_of(root) == [[0], [255], [1]]
    assert {key: root.read(key).data for key in written} == written, "nobody decides anything about them"
    for fleet in (here, other):
        assert Counter(answer.captured_us for answer in fleet.answers) == Counter(fleet.sent_us)
        assert not fleet.refusals
