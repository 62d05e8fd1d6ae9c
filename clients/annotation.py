"""Connection of those who label, and of those who ask for labels, to the learner."""

import getpass
import socket
from collections.abc import Callable
from typing import Any, Self, TypeVar

import grpc
from roadshift.v1 import annotation_pb2 as pb
from roadshift.v1 import annotation_pb2_grpc as pb_grpc

from clients.client import RequestFailed
from exchange.calling import Connection

UNSURE = 255
_TIMEOUT_S = 30.0
Answer = TypeVar("Answer")


class AnnotationClient:
    """Every call raises RequestFailed where the learner refuses, or does not answer."""

    def __init__(self, connection: Connection, annotator: str = "") -> None:
        """`annotator`: by default this user on this machine; a client certificate's word comes before it."""
        self._metadata = connection.metadata
        self._channel = connection.open_channel()
        self._stub = pb_grpc.AnnotationStub(self._channel)
        self._annotator = annotator or f"{getpass.getuser()}@{socket.gethostname()}"

    def ask(self, domain: str, *, clicks: int = 0, minutes: float = 0, double_share: float | None = None) -> str:
        """Has regions picked; returns the batch's id."""
        request = pb.AskRequest(
            domain=domain, clicks=clicks, minutes=minutes, double_share=double_share, by=self._annotator
        )
        return self._call(self._stub.Ask, request).batch

    def lease(self, domain: str = "") -> pb.RegionTask | None:
        """The next region; None where there is none."""
        return _task(self._call(self._stub.Lease, pb.LeaseRequest(annotator=self._annotator, domain=domain)))

    def submit(self, task: str, label: int) -> pb.SubmitResponse:
        """A train id, or UNSURE."""
        return self._call(self._stub.Submit, pb.SubmitRequest(task=task, annotator=self._annotator, label=label))

    def skip(self, task: str, why: str = "") -> None:
        self._call(self._stub.Skip, pb.SkipRequest(task=task, annotator=self._annotator, why=why))

    def undo(self) -> pb.RegionTask | None:
        """The region of this annotator's last answer, leased again; None where there is none."""
        return _task(self._call(self._stub.Undo, pb.UndoRequest(annotator=self._annotator)))

    def progress(self, domain: str) -> pb.LabelProgress:
        return self._call(self._stub.GetProgress, pb.GetProgressRequest(domain=domain))

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(self, method: Callable[..., Answer], request: Any) -> Answer:
        try:
            return method(request, timeout=_TIMEOUT_S, metadata=self._metadata)
        except grpc.RpcError as error:
            raise RequestFailed(error.code(), error.details() or "") from error


def _task(response: pb.LeaseResponse) -> pb.RegionTask | None:
    return response.task if response.HasField("task") else None
