"""How a gateway or a learner is reached: its address, TLS and the caller's token."""

import os
from dataclasses import dataclass
from pathlib import Path

import grpc

from exchange.net.addresses import AddressError, called_target, grpc_target, is_loopback
from exchange.net.proxies import channel_options, hint_for_channel

_MAX_MESSAGE_BYTES = 257 << 20
"""Above what a gateway sends of the largest frame that one can be set to take, and what it takes."""
_CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 2000),  # in truth how long an attempt may take: a handshake over a slow network
    ("grpc.max_reconnect_backoff_ms", 2000),
]

_UNANSWERED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


@dataclass(frozen=True)
class Connection:
    """The address of a gateway or a learner, and what TLS needs; without `ca` and `certificate` it is plain."""

    address: str = "127.0.0.1:8500"
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    token: str | None = None
    insecure: bool = False
    """Send the token in plain text beyond loopback, too: the network itself is trusted."""

    def __post_init__(self) -> None:
        """Raises ValueError where the address is none, or a token would be readable on the way."""
        called_target(self.address)
        is_plain = self.ca is None and self.certificate is None
        if self.token is not None and is_plain and not self.insecure and not is_loopback(self.address):
            raise ValueError(
                f"the token would go to {self.address} in plain text: set ROADSHIFT_CA to what the server's "
                "certificate is signed with, or ROADSHIFT_INSECURE=1 if the network itself is trusted"
            )

    @classmethod
    def from_environment(cls, address: str, option: str = "--server") -> "Connection":
        """The files and the token that ROADSHIFT_CA, _CLIENT_CERTIFICATE, _CLIENT_KEY and _TOKEN name; _INSECURE=1.

        Args:
            address: where to call.
            option: what gave the address, which a refusal names.

        Raises:
            ValueError: an address that is none, a file that cannot be read, a certificate without its key, a token that
                is none, or one that would be readable on the way.
        """
        try:
            called_target(address)
        except AddressError as error:
            raise AddressError(f"{option} {error}") from error
        ca, certificate, key = (_readable_file(name) for name in ("CA", "CLIENT_CERTIFICATE", "CLIENT_KEY"))
        if (certificate is None) != (key is None):
            raise ValueError("set both ROADSHIFT_CLIENT_CERTIFICATE and ROADSHIFT_CLIENT_KEY, or neither")
        token = _variable("TOKEN")
        if token is not None and not (token.isascii() and token.isprintable()):
            raise ValueError("ROADSHIFT_TOKEN is no token: it may hold printable ASCII only, and no end of line")
        return cls(address, ca, certificate, key, token, insecure=_variable("INSECURE") == "1")

    def open_channel(self) -> grpc.Channel:
        credentials = self._credentials()
        if credentials is None:
            return grpc.insecure_channel(grpc_target(self.address), self._options())
        return grpc.secure_channel(grpc_target(self.address), credentials, self._options())

    def open_aio_channel(self) -> grpc.aio.Channel:
        credentials = self._credentials()
        if credentials is None:
            return grpc.aio.insecure_channel(grpc_target(self.address), self._options())
        return grpc.aio.secure_channel(grpc_target(self.address), credentials, self._options())

    def _options(self) -> list[tuple[str, int]]:
        return [*_CHANNEL_OPTIONS, *channel_options(self.address)]

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


def call_details(error: grpc.RpcError, target: str) -> str:
    """What a failed call says, with the variable of the proxy where one may be why it was not answered."""
    details = error.details() or ""
    return details + hint_for_channel(target) if error.code() in _UNANSWERED else details


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
