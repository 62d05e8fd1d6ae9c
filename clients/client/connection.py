"""Where the gateway is, how it is reached, and what may be tried again."""

import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2
from roadshift.v1 import segmentation_pb2 as pb

_MAX_MESSAGE_BYTES = 64 << 20
_CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 2000),  # in truth how long an attempt may take: a handshake over a slow network
    ("grpc.max_reconnect_backoff_ms", 2000),
]
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


@dataclass(frozen=True)
class Connection:
    """A gateway's address, and the files that TLS needs; without `ca` and `certificate` the connection is plain."""

    address: str = "127.0.0.1:8500"
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    token: str | None = None

    @classmethod
    def from_environment(cls, address: str) -> "Connection":
        """The files and the token that ROADSHIFT_CA, _CLIENT_CERTIFICATE, _CLIENT_KEY and _TOKEN name.

        Raises:
            ValueError: a file that cannot be read, a certificate without its key, or a token that is none.
        """
        ca, certificate, key = (_readable_file(name) for name in ("CA", "CLIENT_CERTIFICATE", "CLIENT_KEY"))
        if (certificate is None) != (key is None):
            raise ValueError("set both ROADSHIFT_CLIENT_CERTIFICATE and ROADSHIFT_CLIENT_KEY, or neither")
        token = _variable("TOKEN")
        if token is not None and not (token.isascii() and token.isprintable()):
            raise ValueError("ROADSHIFT_TOKEN is no token: it may hold printable ASCII only, and no end of line")
        return cls(address, ca, certificate, key, token)

    def open_channel(self) -> grpc.Channel:
        credentials = self._credentials()
        if credentials is None:
            return grpc.insecure_channel(self.address, _CHANNEL_OPTIONS)
        return grpc.secure_channel(self.address, credentials, _CHANNEL_OPTIONS)

    def open_aio_channel(self) -> grpc.aio.Channel:
        credentials = self._credentials()
        if credentials is None:
            return grpc.aio.insecure_channel(self.address, _CHANNEL_OPTIONS)
        return grpc.aio.secure_channel(self.address, credentials, _CHANNEL_OPTIONS)

    def _credentials(self) -> grpc.ChannelCredentials | None:
        if self.ca is None and self.certificate is None:
            return None
        ca, key, certificate = (
            None if path is None else path.read_bytes() for path in (self.ca, self.key, self.certificate)
        )
        return grpc.ssl_channel_credentials(ca, key, certificate)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return () if self.token is None else (("authorization", f"Bearer {self.token}"),)


def _variable(name: str) -> str | None:
    return os.environ.get(f"ROADSHIFT_{name}") or None


def _readable_file(name: str) -> Path | None:
    value = _variable(name)
    if value is None:
        return None
    try:
        Path(value).read_bytes()
    except OSError as error:
        raise ValueError(f"ROADSHIFT_{name} names {value}, which cannot be read: {error.strerror}") from error
    return Path(value)


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

    def __init__(self, timeout_s: float, budget: RetryBudget, now: Callable[[], float]) -> None:
        self._budget = budget
        self._now = now
        self._deadline = now() + timeout_s
        self._failures = 0

    @property
    def remaining_s(self) -> float:
        return max(0.001, self._deadline - self._now())

    def wait_before_next_s(self, error: grpc.RpcError) -> float:
        """How long to wait before the next attempt.

        Raises:
            RequestFailed: there is none: the error will not pass, the budget is spent, or the deadline is too near.
        """
        self._failures += 1
        failure = RequestFailed(error.code(), error.details() or "", self._failures)
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
