"""What every client of the learner is made of: one channel, its caller's token, and calls that fail alike."""

from collections.abc import Callable
from typing import Any, Self, TypeVar

import grpc

from clients.client import RequestFailed
from exchange.net.calling import Connection, call_details

_TIMEOUT_S = 30.0
Answer = TypeVar("Answer")


class LearnerConnection:
    """Every call raises RequestFailed where the learner refuses, or does not answer."""

    def __init__(self, connection: Connection) -> None:
        self._address = connection.address
        self._metadata = connection.metadata
        self._channel = connection.open_channel()

    def _call(self, method: Callable[..., Answer], request: Any) -> Answer:
        try:
            return method(request, timeout=_TIMEOUT_S, metadata=self._metadata)
        except grpc.RpcError as error:
            raise RequestFailed(error.code(), call_details(error, self._address)) from error

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
