"""Opens the gateway's port: TLS where files are given, and never beyond loopback without it unless told so."""

import ipaddress
import socket
from pathlib import Path

import grpc

from server.errors import StartupError
from server.settings import GatewaySettings

_CONCURRENT_CALLS = 512
"""Calls that the server works on at once, health checks included; beyond it RESOURCE_EXHAUSTED."""


def check_free(address: str, option: str) -> None:
    """Finds an occupied port before anything slow is started; the port is free again when this returns.

    Raises:
        StartupError: another process listens there, or it is no address of this machine.
    """
    host, _, port = address.rpartition(":")
    if not address or address.startswith("unix:"):
        return
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port just left is free
            probe.bind(place)
    except (OSError, ValueError) as error:
        raise StartupError(
            f"cannot listen on {address} ({error}): stop the process that is there, or choose another {option}"
        ) from error


def new_server(settings: GatewaySettings) -> grpc.aio.Server:
    return grpc.aio.server(
        options=[
            ("grpc.so_reuseport", 0),  # else a second gateway would silently share the port
            ("grpc.max_receive_message_length", settings.max_message_bytes),
            ("grpc.max_send_message_length", settings.max_message_bytes),
            ("grpc.keepalive_time_ms", 30_000),  # a vehicle that lost its network is noticed
            ("grpc.keepalive_timeout_ms", 10_000),
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ("grpc.keepalive_permit_without_calls", 1),
        ],
        maximum_concurrent_rpcs=_CONCURRENT_CALLS,
    )


def open_port(server: grpc.aio.Server, settings: GatewaySettings) -> int:
    """Binds `settings.listen` and returns the port, which differs from the one asked for where that was 0.

    Raises:
        StartupError: no TLS beyond loopback, unreadable files, or a port that is taken.
    """
    if settings.tls_certificate is None and not settings.insecure and not _is_loopback(settings.listen):
        raise StartupError(
            f"{settings.listen} is reachable from other machines: give --tls-certificate and --tls-key, "
            "or say --insecure if the network itself is trusted"
        )
    try:
        if settings.tls_certificate is None:
            return server.add_insecure_port(settings.listen)
        return server.add_secure_port(settings.listen, _credentials(settings))
    except RuntimeError as error:
        raise StartupError(
            f"cannot listen on {settings.listen}: is another process there? Stop it, or choose another --listen"
        ) from error


def _is_loopback(listen: str) -> bool:
    host = listen.rpartition(":")[0].strip("[]")
    if listen.startswith("unix:") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _credentials(settings: GatewaySettings) -> grpc.ServerCredentials:
    if settings.tls_certificate is None or settings.tls_key is None:
        raise StartupError("TLS needs both --tls-certificate and --tls-key")
    client_ca = None if settings.tls_client_ca is None else _read(settings.tls_client_ca)
    return grpc.ssl_server_credentials(
        [(_read(settings.tls_key), _read(settings.tls_certificate))],
        root_certificates=client_ca,
        require_client_auth=client_ca is not None,
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StartupError(f"{path} cannot be read: {error.strerror}") from error
