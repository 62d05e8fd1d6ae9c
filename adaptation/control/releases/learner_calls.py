"""What a learner that holds the lease is asked to do."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc
from roadshift.v1 import operations_pb2 as pb
from roadshift.v1 import operations_pb2_grpc as pb_grpc

from exchange.net.calling import Connection, call_details

_TIMEOUT_S = 30.0


class LearnerRefused(Exception):
    """The learner did not do it, or does not answer; the message says why."""


class LearnerCalls:
    """Each call returns what the domain is served with then. Raises LearnerRefused."""

    def __init__(self, connection: Connection, stub: pb_grpc.OperationsStub) -> None:
        self._connection = connection
        self._stub = stub

    def promote(self, version: int, *, domain: str | None, by: str, why: str, force: bool) -> pb.Serving:
        """As a candidate that the gateways try first, or, forced, at once."""
        request = pb.PromoteRequest(version=version, domain=domain or "", force=force, why=why, by=by)
        return self._call(self._stub.Promote, request)

    def roll_back(self, *, domain: str | None, by: str, why: str) -> pb.Serving:
        return self._call(self._stub.Rollback, pb.RollbackRequest(domain=domain or "", why=why, by=by))

    def _call(self, method: Callable[..., pb.Serving], request: object) -> pb.Serving:
        try:
            return method(request, timeout=_TIMEOUT_S, metadata=self._connection.metadata)
        except grpc.RpcError as error:
            address = self._connection.address
            details = call_details(error, address)
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                raise LearnerRefused(f"no learner answers at {address}: {details}; or use --direct") from None
            raise LearnerRefused(f"the learner at {address}: {details}") from None


@contextmanager
def learner_at(address: str) -> Iterator[LearnerCalls]:
    """Raises LearnerRefused where the environment names TLS files that cannot be read."""
    try:
        connection = Connection.from_environment(address)
    except ValueError as error:
        raise LearnerRefused(str(error)) from None
    with connection.open_channel() as channel:
        yield LearnerCalls(connection, pb_grpc.OperationsStub(channel))
