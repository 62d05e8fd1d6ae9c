"""A gateway and a learner as processes of their own, with the fakes in place of engine and learning."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from roadshift.v1 import operations_pb2 as operations
from roadshift.v1 import operations_pb2_grpc, segmentation_pb2, segmentation_pb2_grpc

from benchmarks.faults.deployment import free_port, until
from benchmarks.faults.processes import CommandProcess
from benchmarks.faults.small_parts import make_release, make_source
from benchmarks.fuzz.calls import GATEWAY_FILES, LEARNER_FILES, Method, methods_of
from benchmarks.fuzz.plausible import good_frame

_READY_WITHIN_S = 120.0
_ENDS_WITHIN_S = 30.0
_LONGEST_MESSAGE_BYTES = 16 << 20


@dataclass
class Server:
    """One process that listens."""

    name: str
    methods: Sequence[Method]
    log: Path
    arguments: Sequence[str]
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        address = f"127.0.0.1:{self.port}"
        self.process = CommandProcess([*self.arguments, "--listen", address], self.log, {"OMP_NUM_THREADS": "1"})
        self.channel = grpc.insecure_channel(
            address, options=[("grpc.max_receive_message_length", _LONGEST_MESSAGE_BYTES)]
        )

    @property
    def is_alive(self) -> bool:
        return self.process.wait(0.0) is None

    def tracebacks(self) -> int:
        return self.log.read_text(errors="replace").count("Traceback")

    def answers(self) -> bool:
        """Return whether a call that nothing is wrong with is answered."""
        try:
            if self.name == "learner":
                operations_pb2_grpc.OperationsStub(self.channel).GetStatus(operations.GetStatusRequest(), timeout=20)
            else:
                frame = segmentation_pb2.SegmentRequest(frame=good_frame())
                segmentation_pb2_grpc.SegmentationStub(self.channel).Segment(frame, timeout=20)
        except grpc.RpcError:
            return False
        return True

    def end(self) -> None:
        self.channel.close()
        self.process.end(_ENDS_WITHIN_S)


@contextmanager
def running_servers(folder: Path) -> Iterator[tuple[Server, Server]]:
    """The gateway and the learner, around one root, once both answer."""
    folder = folder.absolute()
    release, source, root = (
        make_release(folder / "release", 0.0, "fake"),
        make_source(folder / "source"),
        folder / "root",
    )
    of_learner = [
        "learner",
        "--fake",
        "--own-machine",
        "--root",
        root.as_uri(),
        "--source",
        str(source),
        "--metrics",
        "",
    ]
    of_learner += ["--release", str(release), "--run-dir", str(folder / "learner")]
    of_gateway = ["serve", "--fake", "--release", str(release), "--metrics", "", "--run-dir", str(folder / "gateway")]
    servers = (
        Server("gateway", methods_of(*GATEWAY_FILES), folder / "gateway.log", of_gateway),
        Server("learner", methods_of(*LEARNER_FILES), folder / "learner.log", of_learner),
    )
    try:
        for server in servers:
            if not until(server.answers, _READY_WITHIN_S):
                raise RuntimeError(f"the {server.name} does not answer: see {server.log}")
        yield servers
    finally:
        for server in servers:
            server.end()
