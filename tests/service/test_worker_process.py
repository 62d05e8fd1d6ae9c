"""How a worker is kept out of the gateways' way."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from adaptation.control.rounds.fake_worker import ENDLESS
from adaptation.control.rounds.worker_process import FAKE, WorkerProcess
from exchange.fleet.engine_busy import EngineBusyWriter
from exchange.jobs.round_files import JOB_FILE
from tests.service.learner_rig import until


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / JOB_FILE).write_text(f'{{"seed": {ENDLESS}, "start": "nowhere"}}')
    return tmp_path


@pytest.fixture
def worker(folder: Path) -> Iterator[WorkerProcess]:
    process = WorkerProcess(folder, engine_busy=folder / "busy", alone=False, program=FAKE)
    yield process
    process.kill()
    assert not process.is_running


def state_of(worker: WorkerProcess) -> str:
    """R, S or D where it may run; T where it is stopped."""
    return Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_it_stands_still_while_a_frame_is_inferred(folder: Path, worker: WorkerProcess) -> None:
    until(worker.progress, "its first word")
    engine = EngineBusyWriter(folder / "busy")

    def stopped_by_an_inference() -> bool:
        with engine.inferring():
            until(lambda: state_of(worker) == "T" or engine.busy_s() > 0, "the stop", 20)
            return state_of(worker) == "T"

    until(stopped_by_an_inference, "the stop")
    until(lambda: state_of(worker) != "T", "going on")
    before = worker.progress()
    until(lambda: worker.progress() != before, "progress")


def test_it_stands_still_while_it_is_held(worker: WorkerProcess) -> None:
    until(worker.progress, "its first word")
    worker.hold("a gateway is slow")
    until(lambda: state_of(worker) == "T", "the stop")
    worked_s = worker.worked_s
    assert worker.held == "a gateway is slow"
    worker.hold("")
    until(lambda: state_of(worker) != "T", "going on")
    until(lambda: worker.worked_s > worked_s, "work")


def test_a_worker_that_is_held_can_be_killed(worker: WorkerProcess) -> None:
    worker.hold("a gateway is slow")
    until(lambda: state_of(worker) == "T", "the stop")
    worker.kill()
    assert worker.exit_status == -9


def test_the_round_worker_is_of_the_idle_class_in_a_session_of_its_own(tmp_path: Path) -> None:
    (tmp_path / JOB_FILE).write_text("{}")
    process = WorkerProcess(tmp_path, engine_busy=None, alone=False)
    try:
        until(lambda: os.sched_getscheduler(process.pid) == os.SCHED_IDLE, "yielding")
        assert os.getsid(process.pid) == process.pid
    finally:
        process.kill()
