"""Connections that show nothing: they take no file descriptor that a process needs for its own work."""

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import grpc
import httpx
import pytest
from roadshift.v1 import operations_pb2 as pb
from roadshift.v1.operations_pb2_grpc import OperationsStub
from websockets.exceptions import WebSocketException

from exchange.plan.lease import LeaseRecord
from exchange.storage import open_root
from exchange.storage.locations import LEASE
from tests.console.conftest import FAST, console_of
from tests.console.deployment import STARTER
from tests.console.sockets import Intruder
from tests.rounds.conftest import write_frames
from tests.service.learner_rig import ROOT_FOLDER, LearnerProcess, until

DESCRIPTORS = 240
AS_OPERATOR = (("authorization", "Bearer op-token"),)


@pytest.fixture(scope="module")
def learner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LearnerProcess]:
    folder = tmp_path_factory.mktemp("strangers")
    labelled = write_frames(folder / "day", 1.0, cars=1)
    tokens = folder / "tokens"
    tokens.write_text("operator op-token\nviewer view-token\n")
    options = ("--release", str(STARTER), "--token-file", str(tokens), *FAST, "--metrics", "127.0.0.1:0")
    with LearnerProcess(
        f"file://{folder}/root", labelled, folder / "learner", *options, descriptors=DESCRIPTORS
    ) as learner:
        yield learner


@contextmanager
def held(port: int, begun: bytes) -> Iterator[None]:
    """Connections of somebody who begins to speak, more than the process has descriptors."""
    with ExitStack() as stack:
        for _ in range(DESCRIPTORS + 50):
            stranger = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
            try:
                stranger.sendall(begun)
            except ConnectionError:
                continue  # it has made way already
        yield


@pytest.mark.parametrize(
    ("port_of", "begun"),
    [
        ("console", b""),
        ("console", b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n"),
        ("operations", b"PRI * HTTP/2.0\r\n\r\nSM\r\n"),
        ("metrics", b"GET /metr"),
    ],
)
def test_a_learner_goes_on_beside_them(learner: LearnerProcess, port_of: str, begun: bytes) -> None:
    address, metrics = console_of(learner), re.search(r"metrics on port (\d+)", learner.said())
    assert metrics is not None
    ports = {"console": int(address.rpartition(":")[2]), "operations": learner.port, "metrics": int(metrics[1])}
    with held(ports[port_of], begun):
        first = _renewed_at(learner)
        until(lambda: _renewed_at(learner) != first, "the lease's renewal")
        assert _answers(learner)
        assert httpx.get(f"{address}/login", timeout=60).status_code == 200
        assert "roadshift" in httpx.get(f"http://127.0.0.1:{ports['metrics']}/metrics", timeout=60).text
    assert "Traceback" not in learner.said()
    assert len(learner.said()) < 20_000


def test_one_token_does_not_take_all_places_of_the_console(learner: LearnerProcess) -> None:
    address = console_of(learner)
    viewer, operator = Intruder(address, "view-token"), Intruder(address, "op-token")
    refused = 0
    with ExitStack() as stack:
        for _ in range(DESCRIPTORS // 4):
            try:
                stack.enter_context(viewer.socket())
            except (ConnectionError, EOFError, WebSocketException):
                refused += 1
        assert refused, "else they were not all open at once"
        assert operator.status_of("/rounds") == 200


@pytest.mark.parametrize("target", ["//[", "[", "*", "http://[", "/%00", "/?%ff", "/" + 5000 * "x"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "CONNECT", "TRACE"])
def test_whatever_they_ask_for_is_refused(learner: LearnerProcess, method: str, target: str) -> None:
    port = int(console_of(learner).rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=60) as stranger:
        stranger.sendall(f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = stranger.recv(1 << 16)
    assert answer.startswith(b"HTTP/1.1 4"), answer
    assert "Traceback" not in learner.said()


def _answers(learner: LearnerProcess) -> bool:
    with grpc.insecure_channel(f"127.0.0.1:{learner.port}") as channel:
        stub = OperationsStub(channel)
        stub.GetStatus(pb.GetStatusRequest(), metadata=AS_OPERATOR, timeout=60, wait_for_ready=True)
    return True


def _renewed_at(learner: LearnerProcess) -> object:
    return LeaseRecord.decode(open_root(learner.url).read(LEASE).data, LEASE).renewed_at


@pytest.mark.parametrize(("soft", "hard", "most"), [(400, 400, 100), (200, 4000, 1000), (8000, 8000, 1000)])
def test_a_port_holds_a_quarter_of_what_the_process_may_have(soft: int, hard: int, most: int) -> None:
    program = "from exchange.net.connections import most_connections; print(most_connections(1000))"
    command = ["prlimit", f"--nofile={soft}:{hard}", sys.executable, "-c", program]
    assert subprocess.check_output(command, cwd=ROOT_FOLDER, text=True) == f"{most}\n"
