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
_PORT_DIGITS = len(str(_HIGHEST_PORT))
_SCHEME = re.compile(r"(?:dns|ipv4|ipv6):(?://[^/]*/)?")
"""Of the names that gRPC takes beside HOST:PORT."""
_TARGET = re.compile(r"(?P<host>\[[^\]]*\]|[^:]*)(?::(?P<port>[0-9]+))?")
"""One of the places that a name with such a scheme lists."""
_LABEL = re.compile(r"[A-Za-z0-9_-]{1,63}")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
_LONGEST_NAME = 253
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
    def ip(self) -> str:
        """The IP address in its usual spelling; empty where the host is a name."""
        return str(_ip_of(self.host) or "")

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
        AddressError: no port, or none from 0 to 65535; no host, or none that can be; an IPv6 address without brackets.
    """
    host, _, port = text.rpartition(":")
    usual = AddressError(f"{text} is not HOST:PORT: give one such as 127.0.0.1:8500 or [::1]:8500")
    if not host or not (port.isascii() and port.isdecimal()) or len(port) > _PORT_DIGITS or int(port) > _HIGHEST_PORT:
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
    if not is_host(host):
        raise _impossible_host(text)
    return Address(host, int(port))


def called_address(text: str) -> Address:
    """As `parse_address`, of what is called and not listened on. Raises AddressError, for port 0 as well."""
    address = parse_address(text)
    if not address.port:
        raise _impossible_port(text)
    return address


def grpc_target(text: str) -> str:
    """Return an address, or a name with one of gRPC's schemes, as gRPC takes it.

    Each letter of unix:PATH stays as it stands; of IP addresses the usual spelling is given, which no resolver is asked
    for.

    Raises:
        AddressError: it is neither, or a path that no socket, or none of gRPC's, can have.
    """
    if text.startswith(_UNIX):
        return _UNIX + quote(_socket_path(text))
    if text.startswith(_OTHER_SCHEMES):
        return text
    scheme = _SCHEME.match(text)
    if not scheme:
        parse_address(text)
    start = scheme.end() if scheme else 0
    return text[:start] + ",".join(map(_with_usual_ip, text[start:].split(",")))


def _with_usual_ip(place: str) -> str:
    try:
        address = parse_address(place)
    except AddressError:
        return place
    return f"{address.ip}:{address.port}" if "." in address.ip and ":" not in address.ip else place


def called_target(text: str) -> str:
    """As `grpc_target`, of what is called and not listened on, so that a port is one from 1 to 65535.

    Raises:
        AddressError: as `grpc_target`, or nobody can be called there.
    """
    target = grpc_target(text)
    if text.startswith((_UNIX, *_OTHER_SCHEMES)):
        return target
    if not _SCHEME.match(text):
        called_address(text)
    for each in _SCHEME.sub("", text, count=1).split(","):
        found = _TARGET.fullmatch(each)
        if found is None:
            continue
        if not found["host"].startswith("[") and not is_host(found["host"]):
            raise _impossible_host(text)
        port = found["port"]
        if port and (len(port) > _PORT_DIGITS or not 0 < int(port) <= _HIGHEST_PORT):
            raise _impossible_port(text)
    return target


def is_host(text: str) -> bool:
    """Whether it is an IP address, without brackets, or a name that a host can have."""
    if _ip_of(text) is not None:
        return True
    try:
        labels = text.encode("idna").decode("ascii").removesuffix(".").split(".")
    except UnicodeError:
        return False
    fits = len(".".join(labels)) <= _LONGEST_NAME and all(map(_LABEL.fullmatch, labels))
    return fits and not _NUMBER.fullmatch(labels[-1])


def is_loopback(text: str) -> bool:
    """Whether an address, or what `grpc_target` takes, cannot be reached from another machine."""
    return _all_are(text, lambda address: address.is_loopback)


def is_on_this_machine(text: str) -> bool:
    """Whether who calls an address, or what `grpc_target` takes, stays on this machine: as to loopback, to 0.0.0.0."""
    return _all_are(text, lambda address: address.is_loopback or address.is_every_interface)


def resolves_to_this_machine(text: str) -> bool:
    """Whether each host of an address, or of what `grpc_target` takes, is a name of loopback; this asks the resolver.

    Proxies alone are decided by it: what a name resolves to may change, so no token and no page is trusted for it.
    """
    return _all_are(text, lambda address: _resolves_to_loopback(address.host))


def _resolves_to_loopback(host: str) -> bool:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return all(Address(str(place[0]), 0).is_loopback for *_, place in found)


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


def _impossible_host(text: str) -> AddressError:
    return AddressError(
        f"{text} names no host that can be: give an IP address, or a name whose parts between dots have 1 to 63"
        " letters, digits, '-' and '_'"
    )


def _impossible_port(text: str) -> AddressError:
    return AddressError(f"{text} has a port where nobody can be called: give one from 1 to {_HIGHEST_PORT}")


def _without_port(text: str) -> AddressError | None:
    """Of an IPv6 address alone."""
    ip = _ip_of(text.removeprefix("[").removesuffix("]"))
    return AddressError(f"{text} has no port: write [{ip}]:PORT") if ip is not None and ip.version == 6 else None


def _ip_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Read an IP address, also of version 4 as the system takes it: 127.1, or 0x7f000001."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    if not re.fullmatch(r"[0-9a-fA-FxX.]+", host):
        return None
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except OSError:
        return None
