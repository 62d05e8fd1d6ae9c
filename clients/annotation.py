"""Connection of those who label, and of those who ask for labels, to the learner."""

import getpass
import socket

from roadshift.v1 import annotation_pb2 as pb
from roadshift.v1 import annotation_pb2_grpc as pb_grpc

from clients.learner_connection import LearnerConnection
from exchange.net.calling import Connection

UNSURE = 255


class AnnotationClient(LearnerConnection):
    def __init__(self, connection: Connection, annotator: str = "") -> None:
        """`annotator`: by default this user on this machine; a client certificate's word comes before it."""
        super().__init__(connection)
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


def _task(response: pb.LeaseResponse) -> pb.RegionTask | None:
    return response.task if response.HasField("task") else None
