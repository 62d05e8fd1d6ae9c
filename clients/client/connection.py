"""How a gateway is reached, and what may be tried again."""

import random
from collections.abc import Callable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2
from roadshift.v1 import segmentation_pb2 as pb

from exchange.net.calling import Connection, call_details

__all__ = ["HEALTH_REQUEST", "Attempts", "Connection", "RequestFailed", "RetryBudget"]

HEALTH_REQUEST = health_pb2.HealthCheckRequest(service=pb.DESCRIPTOR.services_by_name["Segmentation"].full_name)
_RETRY_AFTER_KEY = "retry-after-ms"
_GATEWAY_GONE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
"""CANCELLED, which only the gateway can cause here, meets a call in the instant in which its port closes."""
_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 2.0


class RequestFailed(Exception):
    """The gateway's last word on a request, after all attempts. `status` is its gRPC status."""

    def __init__(self, status: grpc.StatusCode, message: str, attempts: int = 1) -> None:
        super().__init__(f"{status.name}: {message}")
        self.status = status
        self.message = message
        self.attempts = attempts


class RetryBudget:
    """Bounds what retries add to the load: each one costs ten successes, of which this many retries are given."""

    def __init__(self, retries: int = 10) -> None:
        self._most = self._successes = 10 * retries

    def succeeded(self) -> None:
        self._successes = min(self._most, self._successes + 1)

    def take(self) -> bool:
        if self._successes < 10:
            return False
        self._successes -= 10
        return True


class Attempts:
    """One request's attempts: how long each may take, and whether and when there is another."""

    def __init__(self, timeout_s: float, budget: RetryBudget, now: Callable[[], float], address: str = "") -> None:
        """`address`: whom they call, for what is said of a failure."""
        self._budget = budget
        self._now = now
        self._deadline = now() + timeout_s
        self._failures = 0
        self._address = address

    @property
    def remaining_s(self) -> float:
        return max(0.001, self._deadline - self._now())

    def wait_before_next_s(self, error: grpc.RpcError) -> float:
        """How long to wait before the next attempt.

        Raises:
            RequestFailed: there is none: the error will not pass, the budget is spent, or the deadline is too near.
        """
        self._failures += 1
        failure = RequestFailed(error.code(), call_details(error, self._address), self._failures)
        trailing: Any = error.trailing_metadata() or ()
        hint_ms = dict(trailing).get(_RETRY_AFTER_KEY)
        overloaded = failure.status is grpc.StatusCode.RESOURCE_EXHAUSTED and hint_ms is not None
        if not overloaded and failure.status not in _GATEWAY_GONE:
            raise failure from error
        if hint_ms is None:
            wait_s = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** (self._failures - 1))
        else:
            wait_s = int(hint_ms) / 1000
        wait_s *= random.uniform(1.0, 1.3)  # noqa: S311 - vehicles that were refused together come back apart
        if wait_s >= self.remaining_s or not self._budget.take():
            raise failure from error
        return wait_s
