"""Opens a gRPC port: TLS where files are given, and never beyond loopback without it unless told so."""

from pathlib import Path
from typing import Protocol

import grpc

from exchange.net.addresses import AddressError, grpc_target, is_loopback, parse_address
from exchange.net.startup_error import StartupError as StartupError
from exchange.net.tls_files import TlsFiles


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


def open_port(server: grpc.aio.Server | grpc.Server, settings: ListenSettings, tls: TlsFiles | None = None) -> int:
    """Binds `settings.listen` and returns the port, which differs from the one asked for where that was 0.

    Args:
        tls: what `checked_tls` gave for these settings, where another port shares it.

    Raises:
        StartupError: no TLS beyond loopback, unreadable files, or a port that is taken.
    """
    tls = tls or checked_tls(settings)
    try:
        if tls is None:
            return server.add_insecure_port(grpc_target(settings.listen))
        return server.add_secure_port(grpc_target(settings.listen), tls.grpc_credentials())
    except RuntimeError as error:
        raise StartupError(
            f"cannot listen on {settings.listen}: is another process there? Stop it, or choose another --listen"
        ) from error


def checked_tls(settings: ListenSettings) -> TlsFiles | None:
    """The TLS of a port with these settings, after a look at the files; None where it speaks none.

    Raises:
        StartupError: no TLS beyond loopback, or files that are none.
    """
    certificate, key, client_ca = settings.tls_certificate, settings.tls_key, settings.tls_client_ca
    if certificate is not None and key is not None:
        return TlsFiles(certificate, key, client_ca)
    if certificate is not None or key is not None or client_ca is not None:
        raise StartupError("TLS needs both --tls-certificate and --tls-key")
    if not settings.insecure and not is_loopback(settings.listen):
        raise StartupError(
            f"{settings.listen} is reachable from other machines: give --tls-certificate and --tls-key, "
            "or say --insecure if the network itself is trusted"
        )
    return None
