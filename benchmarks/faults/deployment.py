"""Gateways, a learner and their fleet around one root: what a run breaks."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

import grpc
from roadshift.v1 import operations_pb2_grpc as pb_grpc

from benchmarks.faults.fault_plans import FaultPlan
from benchmarks.faults.faulty_proxy import FaultyProxy
from benchmarks.faults.fleet import Fleet
from benchmarks.faults.processes import CommandProcess, Supervised
from benchmarks.faults.small_parts import make_release, make_source
from benchmarks.local_s3 import BUCKET, S3Server
from exchange.fleet.gateways import Heartbeat, VersionHealth, read_heartbeats, write_heartbeat
from exchange.net.proxies import channel_options
from exchange.plan.lease import LeaseRecord
from exchange.plan.plan_changes import named_versions
from exchange.plan.serving_plan import ServingPlan, read_plan
from exchange.storage import StorageError, StorageRoot, open_root
from exchange.storage.locations import LEASE, ROUNDS
from exchange.storage.records import RecordError

DOMAIN = "sim-dusk"
_FLEET = (DOMAIN, "", DOMAIN, DOMAIN)
_FAST_ROLLOUT = ("--shadow-s", "0.3", "--bake-s", "0.3", "--fewest-frames", "1", "--share", "0.5")
_NO_SHADOWS = ("--shadow-share", "0")
"""The gray engine's releases disagree in every class: as shadows they would be dropped for a collapse."""
_LONG_ROLLOUT = ("--shadow-s", "120")
_GATEWAY_FAILPOINTS, _COMMAND_FAILPOINTS = ("spool.",), ("reset.", "gc.")


class Deployment:
    """Everything lies in one folder; `root` goes past whatever is wrong with the storage."""

    def __init__(self, plan: FaultPlan, folder: Path, server: S3Server | None) -> None:
        self.plan = plan
        self.folder = folder = folder.absolute()
        self.starter = make_release(folder / "starter", 0.0, plan.engine)
        self.other = make_release(folder / "other", 40.0, plan.engine)
        self.source = make_source(folder / "source")
        self.proxy: FaultyProxy | None = None
        self.environment = {"OMP_NUM_THREADS": "1", "ROADSHIFT_CAPTURE_INTERVAL_S": "1"}
        self.root_folder = folder / "root"
        self.url = self.root_folder.as_uri()
        if plan.root == "s3":
            if server is None:
                raise ValueError("a run on S3 needs its server")
            self.proxy = FaultyProxy(server.endpoint, plan.seed)
            self.environment |= server.environment | {"AWS_ENDPOINT_URL": self.proxy.endpoint}
            self.url = f"s3://{BUCKET}/{folder.name}-{time.monotonic_ns():x}"
        self.root: StorageRoot = open_root(self.url, patience_s=10.0)
        self.learner_port = free_port()
        names = [f"gw-{letter}" for letter in "ab"[: plan.gateways]]
        self.gateways = {name: self._gateway(name, free_port()) for name in names}
        self.learner = Supervised(
            self._learner_command, folder / "learner.log", self.environment, self._failpoint_of_learner()
        )
        self.fleet = Fleet([self._addresses[number % len(names)] for number in range(len(_FLEET))], list(_FLEET))
        self.watch = RootWatch(self.root, 0.02 if plan.root == "disk" else 0.5)
        self.sick = SickGateway(self.root) if plan.round == "dropped" else None

    def close(self) -> None:
        """Ends whatever still runs; harmless where everything has ended."""
        for process in (self.learner, *self.gateways.values()):
            process.kill()
            process.end(0.1)
        self.watch.stop()
        if self.sick is not None:
            self.sick.stop()
        if self.proxy is not None:
            self.proxy.close()

    def run_dir(self, name: str) -> Path:
        return self.folder / name

    @property
    def learner_dir(self) -> Path:
        """Of the learner that runs now."""
        return self.folder / self._learner_folder(len(self.learner.deaths))

    def command(self, *arguments: str, failpoint: str = "") -> CommandProcess:
        """Run a `roadshift` command on the root, once."""
        environment = self.environment | {"ROADSHIFT_FAILPOINT": failpoint}
        return CommandProcess([*arguments, "--root", self.url], self.folder / "commands.log", environment)

    def second_learner(self) -> CommandProcess:
        command = [argument for argument in self._learner_command(0) if argument != "--standby"]
        command[command.index("--run-dir") + 1] = str(self.folder / "second")
        command[command.index("--listen") + 1] = f"127.0.0.1:{free_port()}"
        return CommandProcess(command, self.folder / "second.log", self.environment)

    def operations(self) -> "closing[LearnerCalls]":
        return closing(LearnerCalls(f"127.0.0.1:{self.learner_port}"))

    def heartbeats(self) -> list[Heartbeat]:
        return [beat for beat in read_heartbeats(self.root) if beat.gateway in self.gateways]

    def round_folder_of_worker(self, round_id: str) -> Path:
        return self.learner_dir / ROUNDS / round_id

    def worker_pids(self) -> Iterator[int]:
        pid = self.learner.process.pid
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            with suppress(OSError):
                for child in children.read_text().split():
                    if "_worker" in Path(f"/proc/{child}/cmdline").read_text():
                        yield int(child)

    def _gateway(self, name: str, port: int) -> Supervised:
        self._addresses = [*getattr(self, "_addresses", []), f"127.0.0.1:{port}"]
        key = self.folder / "pseudonym.key"
        if not key.exists():
            key.write_text("0f" * 32 + "\n")
            key.chmod(0o600)
        engine = ["--fake"] if self.plan.engine == "fake" else ["--frames-at-once", "1"]
        command = ["serve", *engine, "--release", str(self.starter), "--root", self.url]
        command += ["--listen", f"127.0.0.1:{port}", "--metrics", ""]
        command += ["--gateway", name, "--run-dir", str(self.run_dir(name)), "--domain", DOMAIN]
        command += ["--pseudonym-key", str(key)]
        is_struck = self.plan.kind == "failpoint" and self.plan.what.startswith(_GATEWAY_FAILPOINTS)
        failpoint = self._failpoint() if is_struck else ""
        return Supervised(lambda _: command, self.folder / f"{name}.log", self.environment, failpoint)

    def _learner_command(self, start: int) -> list[str]:
        command = ["learner", "--fake", "--own-machine", "--standby", "--root", self.url, "--source", str(self.source)]
        command += ["--release", str(self.starter), "--run-dir", str(self.folder / self._learner_folder(start))]
        command += ["--listen", f"127.0.0.1:{self.learner_port}", "--metrics", "", "--lease-s", str(self.plan.lease_s)]
        command += [*_FAST_ROLLOUT, *(_NO_SHADOWS if self.plan.engine == "triton" else ())]
        return [*command, *(_LONG_ROLLOUT if self.plan.round == "withdrawn" else ())]

    def _learner_folder(self, start: int) -> str:
        return f"learner-{start}" if self.plan.moves else "learner"

    def _failpoint(self) -> str:
        return f"{self.plan.what}:{self.plan.passing}"

    def _failpoint_of_learner(self) -> str:
        plan = self.plan
        elsewhere = plan.what.startswith((*_GATEWAY_FAILPOINTS, *_COMMAND_FAILPOINTS)) or (
            plan.direct and plan.what.startswith(plan.order)
        )
        return self._failpoint() if plan.kind == "failpoint" and not elsewhere else ""


class LearnerCalls:
    def __init__(self, address: str) -> None:
        options = [("grpc.use_local_subchannel_pool", 1), *channel_options(address)]
        self._channel = grpc.insecure_channel(address, options=options)
        self.stub = pb_grpc.OperationsStub(self._channel)

    def close(self) -> None:
        self._channel.close()


def held_lease(root: StorageRoot) -> LeaseRecord | None:
    """None while nobody holds it."""
    found = root.read_if_any(LEASE)
    record = None if found is None else LeaseRecord.decode(found.data, LEASE)
    return None if record is None or record.released else record


class RootWatch:
    """Sees every revision of the plan, but for those that another follows at once, and every holder of the lease."""

    def __init__(self, root: StorageRoot, pause_s: float) -> None:
        self._root = root
        self._pause_s = pause_s
        self.plans: dict[int, ServingPlan] = {}
        self.epochs: dict[int, float] = {}
        """When each epoch was first seen, in seconds since 1970."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stopping.wait(self._pause_s):
            with suppress(StorageError, RecordError):
                if (stored := read_plan(self._root)) is not None:
                    self.plans.setdefault(stored.plan.revision, stored.plan)
                if (lease := held_lease(self._root)) is not None:
                    self.epochs.setdefault(lease.epoch, time.time())


class SickGateway:
    """One more gateway of which there is only the heartbeat: no candidate can be loaded there."""

    NAME = "gw-sick"

    def __init__(self, root: StorageRoot) -> None:
        self._root = root
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._stopping.wait(0.3):
            with suppress(StorageError, RecordError):
                stored = read_plan(self._root)
                if stored is None:
                    continue
                plans = (stored.plan.default, *stored.plan.domains.values())
                tried = {plan.candidate.version for plan in plans if plan.candidate is not None}
                now = datetime.now(UTC)
                versions = {
                    version: VersionHealth(
                        loaded=version not in tried,
                        trouble="too big for this machine" if version in tried else None,
                        last_success=now,
                        requests=0,
                        errors=0,
                        p50_s=None,
                        p99_s=None,
                    )
                    for version in named_versions(stored.plan)
                }
                write_heartbeat(
                    self._root,
                    Heartbeat(
                        gateway=self.NAME,
                        started_at=now,
                        written_at=now,
                        plan_revision=stored.plan.revision,
                        versions=versions,
                        free_bytes=1,
                        presence_dropped=0,
                        capture_dropped=0,
                        erasures_applied=0,
                    ),
                )


def until(found: Callable[[], object], patience_s: float, pause_s: float = 0.05) -> bool:
    """Whether it came to hold."""
    over_s = time.monotonic() + patience_s
    while True:
        with suppress(StorageError, RecordError, grpc.RpcError):
            if found():
                return True
        if time.monotonic() > over_s:
            return False
        time.sleep(pause_s)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
