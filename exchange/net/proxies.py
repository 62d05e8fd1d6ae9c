"""Proxies that the environment names: none is asked for what is on this machine, and one in the way is named.

gRPC heeds grpc_proxy, https_proxy and http_proxy; Python's urllib HTTP_PROXY and its like; S3 also ALL_PROXY.
"""

import os
from collections.abc import Iterable
from http.client import HTTPResponse
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener

from exchange.net.addresses import AddressError, is_on_this_machine, parse_address, resolves_to_this_machine

if TYPE_CHECKING:
    from obstore.store import ClientConfig

_OF_GRPC = ("grpc_proxy", "https_proxy", "http_proxy")
_OF_ALL = ("grpc_proxy", "https_proxy", "http_proxy", "all_proxy")
_EXCEPT_OF_GRPC = ("no_grpc_proxy", "no_proxy")


def channel_options(target: str) -> list[tuple[str, int]]:
    """For every channel to a target, as gRPC takes it."""
    return [("grpc.enable_http_proxy", 0)] if _is_here(target) else []


def hint_for_channel(target: str) -> str:
    """Names the variable that sends a channel to a proxy; empty where none does."""
    if _is_here(target) or target.startswith("unix"):
        return ""
    try:
        host = parse_address(target.rpartition("/")[2]).host
    except AddressError:
        host = target
    return _hint(_OF_GRPC, _EXCEPT_OF_GRPC, host)


def hint_for_url(url: str) -> str:
    """As `hint_for_channel`, for HTTP of urllib or S3."""
    parts = urlsplit(url)
    names = [f"{parts.scheme}_proxy", "all_proxy"]
    host = parts.hostname or ""
    return "" if _is_here(_hosts_address(host)) else _hint(_either_case(names), _either_case(["no_proxy"]), host)


def open_url(url: str, timeout_s: float) -> HTTPResponse:
    """As `urllib.request.urlopen`, and raises what it does."""
    opener = build_opener(*([ProxyHandler({})] if _is_here(_hosts_address(urlsplit(url).hostname or "")) else []))
    return cast(HTTPResponse, opener.open(url, timeout=timeout_s))


def excluding_s3_proxies(endpoint: str) -> "ClientConfig":
    """Client options of object stores: an endpoint on this machine is its own proxy's exception, so there is none."""
    host = urlsplit(endpoint).hostname or ""
    if not _is_here(_hosts_address(host)):
        return {}
    # The client writes 127.1 as 127.0.0.1 before it compares.
    spellings = dict.fromkeys((host, parse_address(_hosts_address(host)).ip or host))
    return {"proxy_url": endpoint, "proxy_excludes": ",".join(spellings)}


def _is_here(target: str) -> bool:
    """Whether a target is on this machine; names are looked up only where a proxy may be in the way."""
    names_a_proxy = any(map(os.environ.get, _either_case(_OF_ALL)))
    return is_on_this_machine(target) or (names_a_proxy and resolves_to_this_machine(target))


def _hosts_address(host: str) -> str:
    return f"[{host}]:0" if ":" in host else f"{host}:0"


def _either_case(names: Iterable[str]) -> list[str]:
    return [each for name in names for each in (name, name.upper())]


def _hint(proxies: Iterable[str], exceptions: Iterable[str], host: str) -> str:
    variable = next((name for name in proxies if os.environ.get(name)), "")
    excluded = next(filter(None, map(os.environ.get, exceptions)), "")
    if not variable or _is_among(host, excluded):
        return ""
    return f" ({variable} sends this call to a proxy: unset it, or name {host} in no_proxy)"


def _is_among(host: str, exceptions: str) -> bool:
    """Whether a list of hosts and domains, with commas, or "*", has the host in it."""
    domains = [name.strip().lstrip(".").lower() for name in exceptions.split(",")]
    return "*" in domains or any(f".{host.lower()}".endswith(f".{domain}") for domain in domains if domain)
