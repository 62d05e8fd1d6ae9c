"""TLS for a port out of PEM files, which may be replaced while the port is open: new connections get what is there."""

import os
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import grpc

from exchange.net.startup_error import StartupError
from exchange.net.watched_files import WatchedFiles


class _Pair(NamedTuple):
    certificate: bytes
    key: bytes


class TlsFiles:
    """A port's certificate and key, and the authority of its callers where they must show certificates, too.

    Certificate and key change together, once they belong together; the authority changes by itself.
    """

    def __init__(
        self, certificate: Path, key: Path, client_ca: Path | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Raises StartupError where a file cannot be read, or they are no TLS files that belong together."""
        self._pair = WatchedFiles(
            certificate, key, what="TLS file", parse=partial(_parse_pair, certificate, key), clock=clock
        )
        self._client_ca: WatchedFiles[bytes] | None = None
        if client_ca is not None:
            parse = partial(_parse_authority, client_ca)
            self._client_ca = WatchedFiles(client_ca, what="TLS file", parse=parse, clock=clock)

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """Credentials of a gRPC port that asks at each handshake for what the files hold then."""
        given = self._now()

        def newer() -> Any:  # a configuration, or None for no change, which types-grpcio does not know of
            nonlocal given
            now = self._now()
            if now == given:
                return None
            given = now
            return _grpc_configuration(*now)

        return grpc.dynamic_ssl_server_credentials(
            _grpc_configuration(*given), newer, require_client_authentication=self._client_ca is not None
        )

    def server_context(self) -> ssl.SSLContext:
        """A context for asyncio's servers, of which each handshake is by what the files hold then."""
        return _FollowingContext(self._now)

    def _now(self) -> tuple[_Pair, bytes | None]:
        return self._pair.now(), None if self._client_ca is None else self._client_ca.now()


class _FollowingContext(ssl.SSLContext):
    """Makes each connection by a context of its own for the present files.

    To load another chain into a context that is in use would leave the old one beside it where the keys' kinds differ,
    and authorities that were taken out, and would let clients resume what these allowed.
    """

    def __new__(cls, _: Callable[[], tuple[_Pair, bytes | None]]) -> "_FollowingContext":
        return super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)

    def __init__(self, now: Callable[[], tuple[_Pair, bytes | None]]) -> None:
        self._now = now
        self._made_of = now()
        self._made = _server_context(*self._made_of)

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        now = self._now()
        if now != self._made_of:
            self._made_of, self._made = now, _server_context(*now)
        return self._made.wrap_bio(incoming, outgoing, server_side, server_hostname, session)


def _grpc_configuration(pair: _Pair, client_ca: bytes | None) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pair.key, pair.certificate)], client_ca)


def _server_context(pair: _Pair, client_ca: bytes | None) -> ssl.SSLContext:
    """Raises OSError where certificate and key do not belong together, or an authority is none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with ExitStack() as stack:
        # OpenSSL takes a pair from files alone: these are in memory, and hold what gRPC is given.
        files = [stack.enter_context(os.fdopen(os.memfd_create("pem"), "wb")) for _ in pair]
        for file, content in zip(files, pair, strict=True):
            file.write(content)
            file.flush()
        certificate, key = (f"/proc/self/fd/{file.fileno()}" for file in files)
        context.load_cert_chain(certificate, key, password="")  # or OpenSSL asks for it
    if client_ca is not None:
        context.load_verify_locations(cadata=_ascii(client_ca))
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _parse_pair(certificate: Path, key: Path, contents: Sequence[bytes]) -> _Pair:
    """gRPC says of bad files only that the port cannot be opened, or fails at each handshake."""
    pair = _Pair(*contents)
    try:
        _server_context(pair, None)
    except OSError as error:
        raise StartupError(
            f"{certificate} and {key} are not a certificate and its key: give PEM files that belong together, "
            f"the key without a password ({error.strerror})"
        ) from error
    return pair


def _parse_authority(path: Path, contents: Sequence[bytes]) -> bytes:
    (authority,) = contents
    try:
        ssl.create_default_context(cadata=_ascii(authority))
    except (OSError, ValueError) as error:
        raise StartupError(f"{path} holds no certificate: give the authority's as a PEM file") from error
    return authority


def _ascii(pem: bytes) -> str:
    """Without what people wrote between the certificates in letters of their own."""
    return pem.decode("ascii", errors="replace").replace("\ufffd", "?")
