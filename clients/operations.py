"""An operator's connection to the learner."""

import getpass
import socket
from collections.abc import Iterator

import grpc
from roadshift.v1 import operations_pb2 as pb
from roadshift.v1 import operations_pb2_grpc as pb_grpc

from clients.client import RequestFailed
from clients.learner_connection import LearnerConnection
from exchange.net.calling import Connection

DEFAULT_LEARNER = "127.0.0.1:8600"
FINAL_PHASES = frozenset(
    {
        pb.ROUND_PHASE_PROMOTED,
        pb.ROUND_PHASE_REJECTED,
        pb.ROUND_PHASE_FAILED,
        pb.ROUND_PHASE_CANCELLED,
    }
)


def phase_name(phase: pb.RoundPhase) -> str:
    """Such as "learning"."""
    return pb.RoundPhase.Name(phase).removeprefix("ROUND_PHASE_").lower()


class OperationsClient(LearnerConnection):
    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._stub = pb_grpc.OperationsStub(self._channel)
        self._by = f"{getpass.getuser()}@{socket.gethostname()}"

    def start_round(self, request: pb.StartRoundRequest) -> pb.Round:
        """Tell a lost answer from a lost question by the request's idempotency key: ask again with the same."""
        request.by = self._by
        return self._call(self._stub.StartRound, request)

    def watch_round(self, round_id: str) -> Iterator[pb.Round]:
        """The round now, and whenever it has changed, until it has ended."""
        try:
            yield from self._stub.WatchRound(pb.WatchRoundRequest(id=round_id), metadata=self._metadata)
        except grpc.RpcError as error:
            raise RequestFailed(error.code(), error.details() or "") from error

    def list_rounds(self, domain: str = "", limit: int = 0) -> list[pb.Round]:
        return list(self._call(self._stub.ListRounds, pb.ListRoundsRequest(domain=domain, limit=limit)).rounds)

    def get_round(self, round_id: str) -> pb.Round:
        return self._call(self._stub.GetRound, pb.GetRoundRequest(id=round_id))

    def cancel_round(self, round_id: str) -> pb.Round:
        return self._call(self._stub.CancelRound, pb.CancelRoundRequest(id=round_id, by=self._by))

    def set_trigger(self, trigger: pb.Trigger) -> pb.Trigger:
        return self._call(self._stub.SetTrigger, pb.SetTriggerRequest(trigger=trigger, by=self._by))

    def roll_back(self, domain: str, why: str) -> pb.Serving:
        return self._call(self._stub.Rollback, pb.RollbackRequest(domain=domain, why=why, by=self._by))

    def status(self) -> pb.LearnerStatus:
        return self._call(self._stub.GetStatus, pb.GetStatusRequest())
