"""Addresses as options and settings name them: HOST:PORT, an IPv6 host in brackets, or unix:PATH for a socket."""

import ipaddress
import os
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from exchange.plain_words import CONTROL_CHARACTER

_HIGHEST_PORT = 65535
_SCHEME = re.compile(r"(?:dns|ipv4|ipv6):(?://[^/]*/)?")
"""Of the names that gRPC takes beside HOST:PORT."""
_NUMBERS = re.compile(r"[0-9a-fx]+(?:\.[0-9a-fx]+){0,3}", re.IGNORECASE)
_UNIX = "unix:"
_LONGEST_SOCKET_PATH_BYTES = 107
_OTHER_SCHEMES = ("unix-abstract:", "vsock:", "xds:")


class AddressError(ValueError):
    """A text that is no address; the message says what to write instead."""


@dataclass(frozen=True)
class Address:
    """A host, without brackets, and a port, 0 to 65535."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def bound_socket(self) -> socket.socket:
        """A TCP socket with this address, not yet listening; a port just left is free. Raises OSError."""
        family, kind, protocol, _, place = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(place)
        except OSError:
            bound.close()
            raise
        return bound

    @property
    def is_every_interface(self) -> bool:
        """Whether whoever listens there hears every interface of the machine."""
        return (ip := _ip_of(self.host)) is not None and ip.is_unspecified

    @property
    def is_loopback(self) -> bool:
        """Whether it cannot be reached from another machine."""
        if self.host.lower().removesuffix(".") == "localhost":
            return True
        ip = _ip_of(self.host)
        mapped = getattr(ip, "ipv4_mapped", None)
        return ip is not None and (mapped or ip).is_loopback


def parse_address(text: str) -> Address:
    """Reads HOST:PORT or [IPV6]:PORT.

    Raises:
        AddressError: no port, or none from 0 to 65535; no host; an IPv6 address without brackets.
    """
    host, _, port = text.rpartition(":")
    usual = AddressError(f"{text} is not HOST:PORT: give one such as 127.0.0.1:8500 or [::1]:8500")
    if not host or not (port.isascii() and port.isdecimal()) or int(port) > _HIGHEST_PORT:
        raise _without_port(text) or usual
    if host.startswith("[") and host.endswith("]"):
        if not isinstance(_ip_of(host[1:-1]), ipaddress.IPv6Address):
            raise usual
        return Address(host[1:-1], int(port))
    if re.search(r"[\s/\[\]]", host):
        raise usual
    if ":" in host:
        example = f"[{host}]:{port}" if _ip_of(host) else "[::1]:8500"
        raise AddressError(f"{text} is ambiguous: write an IPv6 address in brackets, such as {example}")
    return Address(host, int(port))


def grpc_target(text: str) -> str:
    """Return an address, or a name with one of gRPC's schemes, as gRPC takes it: each letter of unix:PATH as it stands.

    Raises:
        AddressError: it is neither, or a path that no socket, or none of gRPC's, can have.
    """
    if text.startswith(_UNIX):
        return _UNIX + quote(_socket_path(text))
    if not text.startswith(_OTHER_SCHEMES) and not _SCHEME.match(text):
        parse_address(text)
    return text


def is_loopback(text: str) -> bool:
    """Whether an address, or what `grpc_target` takes, cannot be reached from another machine."""
    return _all_are(text, lambda address: address.is_loopback)


def is_on_this_machine(text: str) -> bool:
    """Whether who calls an address, or what `grpc_target` takes, stays on this machine: as to loopback, to 0.0.0.0."""
    return _all_are(text, lambda address: address.is_loopback or address.is_every_interface)


def _all_are(text: str, such: Callable[[Address], bool]) -> bool:
    if text.startswith((_UNIX, "unix-abstract:")):
        return True
    try:
        return all(such(parse_address(each)) for each in _SCHEME.sub("", text, count=1).split(","))
    except AddressError:
        return False


def _socket_path(text: str) -> bytes:
    path = os.fsencode(text.removeprefix(_UNIX))
    if not path or len(path) > _LONGEST_SOCKET_PATH_BYTES:
        raise AddressError(
            f"{text} has {len(path)} bytes of path, and a socket's are 1 to {_LONGEST_SOCKET_PATH_BYTES}:"
            " give a shorter one"
        )
    if b"," in path or CONTROL_CHARACTER.search(text):
        raise AddressError(f"{text!r} is no path for gRPC's sockets: give one without commas and control characters")
    return path


def _without_port(text: str) -> AddressError | None:
    """Of an IPv6 address alone."""
    ip = _ip_of(text.removeprefix("[").removesuffix("]"))
    return AddressError(f"{text} has no port: write [{ip}]:PORT") if ip is not None and ip.version == 6 else None


def _ip_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return _short_ip_of(host)


def _short_ip_of(host: str) -> ipaddress.IPv4Address | None:
    """Read an IPv4 address of fewer than four numbers, or of octal or hexadecimal ones, as the C library does."""
    if not _NUMBERS.fullmatch(host):
        return None
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except OSError:
        return None
