"""How each fault is done to a deployment."""

import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from benchmarks.faults.deployment import Deployment, until
from benchmarks.faults.fault_plans import FaultPlan, Stage
from benchmarks.faults.processes import Supervised

_ATTEMPTS_TO_CUT = 4
_WAIT_FOR_WORKER_S = 15.0
_WAIT_FOR_FILE_S = 15.0


class Strike:
    """Waits for its stage of the run, then for its delay, and strikes."""

    def __init__(self, plan: FaultPlan, deployment: Deployment) -> None:
        self._plan = plan
        self._deployment = deployment
        self._rng = random.Random(plan.seed)  # noqa: S311 - no secret
        self._thread: threading.Thread | None = None
        self.told = ""
        """What was done; empty while nothing was."""
        self.damaged: set[str] = set()
        """Keys of the root that the fault itself cut off."""
        self.round_id = ""

    def reached(self, stage: Stage) -> None:
        if stage == self._plan.at and self._thread is None and self._plan.kind != "failpoint":
            self._thread = threading.Thread(target=self._strike, daemon=True)
            self._thread.start()

    def wait(self) -> None:
        """Return when the fault is over."""
        if self._thread is not None:
            self._thread.join()
        elif self._plan.kind == "failpoint":
            struck = [process for process in self._processes() if -signal.SIGKILL in process.deaths]
            self.told = self.told or (f"{self._plan.what} was passed" if struck else "")

    def _strike(self) -> None:
        time.sleep(self._plan.delay_s)
        kind, what = self._plan.kind, self._plan.what
        if kind == "kill":
            self._kill(what)
        elif kind == "full disk":
            self._fill_disk(what)
        elif kind == "storage":
            self._spoil_storage(what)
        else:
            self._truncate(what)

    def _processes(self) -> list[Supervised]:
        return [self._deployment.learner, *self._deployment.gateways.values()]

    def _one_gateway(self) -> tuple[str, Supervised]:
        return self._rng.choice(sorted(self._deployment.gateways.items()))

    def _kill(self, what: str) -> None:
        if what == "worker":
            if not until(lambda: list(self._deployment.worker_pids()), _WAIT_FOR_WORKER_S, 0.01):
                return
            time.sleep(self._plan.delay_s)
            for pid in self._deployment.worker_pids():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    self.told = "worker killed"
            return
        if what == "triton":
            pids = [pid for pid in descendants(self._one_gateway()[1].process.pid) if _name(pid) == "tritonserver"]
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            self.told = "triton killed" if pids else ""
            return
        if what in ("learner", "everything"):
            self._deployment.learner.kill()
        if what == "everything":
            for gateway in self._deployment.gateways.values():
                gateway.kill()
        elif what == "gateway":
            self._one_gateway()[1].kill()
        self.told = f"{what} killed"

    def _fill_disk(self, what: str) -> None:
        process = self._deployment.learner if what == "learner" else self._one_gateway()[1]
        most_bytes = int(self._plan.cut * 6000)
        process.process.fill_disk(most_bytes)
        time.sleep(self._plan.lasts_s)
        process.process.fill_disk(None)
        self.told = f"no file of the {what} beyond {most_bytes} bytes for {self._plan.lasts_s:.1f} s"

    def _spoil_storage(self, what: str) -> None:
        deployment = self._deployment
        if deployment.proxy is not None:
            deployment.proxy.trouble = what
            time.sleep(2 * self._plan.lasts_s)
            deployment.proxy.trouble = ""
            if deployment.proxy.struck:
                self.told = f"{deployment.proxy.struck} requests in {2 * self._plan.lasts_s:.1f} s"
            return
        away = deployment.root_folder.with_name("away")
        deployment.root_folder.rename(away)
        time.sleep(self._plan.lasts_s)
        # As a disk that is mounted again hides what was written in its place: whoever starts meanwhile begins a root.
        shutil.rmtree(deployment.root_folder, ignore_errors=True)
        away.rename(deployment.root_folder)
        self.told = f"the root was away for {self._plan.lasts_s:.1f} s"

    def _truncate(self, what: str) -> None:
        deployment = self._deployment
        if what.startswith("round's"):
            until(lambda: self.round_id and deployment.round_folder_of_worker(self.round_id).exists(), 30.0, 0.01)
        name, gateway = self._one_gateway()
        process = gateway if what.startswith("gateway's") else deployment.learner
        learner_dir = deployment.learner_dir

        folder = {
            "gateway's release": deployment.run_dir(name) / "releases",
            "gateway's last plan": deployment.run_dir(name) / "releases",
            "gateway's spool": deployment.run_dir(name) / "spool",
            "learner's release": learner_dir / "releases",
            "round's folder": learner_dir / "rounds" / self.round_id,
        }.get(what)

        def files() -> list[Path]:
            return [] if folder is None else [path for path in sorted(folder.rglob("*")) if _is_meant(what, path)]

        def cut() -> None:
            if folder is None:
                self._cut_in_root(f"rounds/{self.round_id}/{'frames/' if 'copies' in what else 'state.json'}")
            else:
                self._cut_one_of(files())

        for _ in range(_ATTEMPTS_TO_CUT):  # a file may be gone again by the time of the kill
            if folder is not None:
                until(files, _WAIT_FOR_FILE_S)
            process.kill(then=cut)
            if until(lambda: self.told, 5.0):
                break

    def _cut_one_of(self, files: list[Path]) -> None:
        if files:
            path = self._rng.choice(files)
            data = path.read_bytes()
            path.write_bytes(data[: int(len(data) * self._plan.cut)])
            self.told = f"{path.name} cut to {int(len(data) * self._plan.cut)} of {len(data)} bytes"

    def _cut_in_root(self, prefix: str) -> None:
        root = self._deployment.root
        folder = prefix.rpartition("/")[0]
        keys = [info.key for info in root.list_objects(folder) if info.key.startswith(prefix)]
        if keys:
            key = self._rng.choice(keys)
            data = root.read(key).data
            root.write(key, data[: int(len(data) * self._plan.cut)])
            self.damaged.add(key)
            self.told = f"{key} cut to {int(len(data) * self._plan.cut)} of {len(data)} bytes"


def descendants(pid: int) -> Iterator[int]:
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, children.read_text().split()):
                yield child
                yield from descendants(child)


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _is_meant(what: str, path: Path) -> bool:
    if not path.is_file() or path.name.startswith("."):
        return False
    if what == "gateway's last plan":
        return path.name == "last_plan.json"
    if what == "gateway's release":
        return path.name != "last_plan.json"
    return what != "gateway's spool" or path.suffix in (".members", ".tar")
