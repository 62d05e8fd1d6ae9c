"""Names under which the console may be asked, and pages that may ask it: its own, and none that only point here."""

import ipaddress
import re
from collections.abc import Sequence

from starlette.requests import HTTPConnection

from exchange.net.addresses import Address, parse_address

_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d{1,5})?")
_HARMLESS = frozenset({"GET", "HEAD"})


class Origins:
    """Knows the loopback names, the address where the console listens, and the origins that settings name."""

    def __init__(self, listen: str, named: Sequence[str]) -> None:
        self._listen = parse_address(listen)
        self._named = {origin: origin.partition("://")[2] for origin in named}

    def refusal(self, connection: HTTPConnection) -> str:
        """Return why a connection is refused, or nothing.

        A name that an attacker lets point to this machine (DNS rebinding) is none of the console's. A browser says
        with every order, and with every WebSocket, which page gives it.
        """
        host = connection.headers.get("host", "").lower()
        if not self._knows(host):
            return (
                f"The console is not asked under the name {host[:64]!r}: use the address that the learner prints, "
                "or start it with --console-origin naming the one to use."
            )
        origin = connection.headers.get("origin")
        if origin is None:
            is_order = connection.scope["type"] == "websocket" or connection.scope["method"] not in _HARMLESS
            return "The console takes orders from its own pages alone: this one names no page." if is_order else ""
        if origin.lower() not in self._expected(connection, host):
            return "The console answers its own pages alone: open it at its own address."
        return ""

    def is_secure(self, connection: HTTPConnection) -> bool:
        """Whether the browser came over TLS: here, or to a proxy before this."""
        asked = (connection.headers.get("origin", "").lower(), f"https://{connection.headers.get('host', '').lower()}")
        return connection.scope.get("scheme") in ("https", "wss") or any(
            each in self._named and each.startswith("https:") for each in asked
        )

    def _expected(self, connection: HTTPConnection, host: str) -> set[str]:
        if host in self._named.values():
            return set(self._named)
        scheme = "https" if connection.scope.get("scheme") in ("https", "wss") else "http"
        return {f"{scheme}://{host}", *self._named}

    def _knows(self, host: str) -> bool:
        if host in self._named.values():
            return True
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name = found["name"].strip("[]")
        ip = _ip_of(name)
        if ip is None:
            return Address(name, 0).is_loopback or name == self._listen.host.lower()
        # Only a name can be made to point somewhere else.
        return Address(name, 0).is_loopback or self._listen.is_every_interface or ip == _ip_of(self._listen.host)


def _ip_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
