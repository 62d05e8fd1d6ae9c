"""Opens a gRPC port: TLS where files are given, and never beyond loopback without it unless told so."""

import ssl
from pathlib import Path
from typing import Protocol

import grpc

from exchange.addresses import AddressError, grpc_target, is_loopback, parse_address


class StartupError(Exception):
    """A process cannot start: one line for the operator, saying what to change."""


class ListenSettings(Protocol):
    """Where to listen, and with what."""

    @property
    def listen(self) -> str: ...
    @property
    def tls_certificate(self) -> Path | None: ...
    @property
    def tls_key(self) -> Path | None: ...
    @property
    def tls_client_ca(self) -> Path | None: ...
    @property
    def insecure(self) -> bool: ...


def check_free(address: str, option: str) -> None:
    """Finds an occupied port before anything slow is started; the port is free again when this returns.

    Raises:
        StartupError: no address, none of this machine, a path that no socket can have, or a port that is taken.
    """
    if not address:
        return
    try:
        if address.startswith("unix:"):
            grpc_target(address)
        else:
            parse_address(address).bound_socket().close()
    except AddressError as error:
        raise StartupError(f"{option} {error}") from error
    except OSError as error:
        remedy = f"stop the process that is there, or choose another {option}"
        raise StartupError(f"cannot listen on {address} ({error.strerror}): {remedy}") from error


def open_port(server: grpc.aio.Server | grpc.Server, settings: ListenSettings) -> int:
    """Binds `settings.listen` and returns the port, which differs from the one asked for where that was 0.

    Raises:
        StartupError: no TLS beyond loopback, unreadable files, or a port that is taken.
    """
    tls = checked_tls(settings)
    try:
        if not tls:
            return server.add_insecure_port(grpc_target(settings.listen))
        return server.add_secure_port(grpc_target(settings.listen), _credentials(settings))
    except RuntimeError as error:
        raise StartupError(
            f"cannot listen on {settings.listen}: is another process there? Stop it, or choose another --listen"
        ) from error


def checked_tls(settings: ListenSettings) -> bool:
    """Whether a port with these settings speaks TLS, after a look at the files.

    Raises:
        StartupError: no TLS beyond loopback, or files that are none.
    """
    tls = settings.tls_certificate is not None or settings.tls_key is not None or settings.tls_client_ca is not None
    if tls:
        _credentials(settings)
    elif not settings.insecure and not is_loopback(settings.listen):
        raise StartupError(
            f"{settings.listen} is reachable from other machines: give --tls-certificate and --tls-key, "
            "or say --insecure if the network itself is trusted"
        )
    return tls


def _credentials(settings: ListenSettings) -> grpc.ServerCredentials:
    if settings.tls_certificate is None or settings.tls_key is None:
        raise StartupError("TLS needs both --tls-certificate and --tls-key")
    _check_pair(settings.tls_certificate, settings.tls_key)
    client_ca = None if settings.tls_client_ca is None else _read_authority(settings.tls_client_ca)
    return grpc.ssl_server_credentials(
        [(settings.tls_key.read_bytes(), settings.tls_certificate.read_bytes())],
        root_certificates=client_ca,
        require_client_auth=client_ca is not None,
    )


def _check_pair(certificate: Path, key: Path) -> None:
    """gRPC says of bad files only that the port cannot be opened, or fails at each handshake."""
    _check_readable(certificate, key)
    try:
        ssl.create_default_context().load_cert_chain(certificate, key, password="")  # or OpenSSL asks for it
    except OSError as error:
        raise StartupError(
            f"{certificate} and {key} are not a certificate and its key: give PEM files that belong together, "
            f"the key without a password ({error.strerror})"
        ) from error


def _read_authority(path: Path) -> bytes:
    _check_readable(path)
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:
        raise StartupError(f"{path} holds no certificate: give the authority's as a PEM file") from error
    return path.read_bytes()


def _check_readable(*paths: Path) -> None:
    for path in paths:
        try:
            path.read_bytes()
        except OSError as error:
            raise StartupError(f"{path} cannot be read: {error.strerror}") from error
