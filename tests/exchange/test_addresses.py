"""Addresses of options and settings: what is taken, and what one that is wrong is told."""

import re

import pytest

from exchange.net.addresses import Address, AddressError, grpc_target, is_loopback, is_on_this_machine, parse_address
from exchange.net.proxies import channel_options, hint_for_channel


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:8500", "127.0.0.1", 8500),
        ("gateway.example.org:0", "gateway.example.org", 0),
        ("[::1]:65535", "::1", 65535),
        ("[::]:9500", "::", 9500),
        ("[fe80::1%eth0]:9500", "fe80::1%eth0", 9500),
    ],
)
def test_a_host_comes_without_brackets_and_is_written_with_them(text: str, host: str, port: int) -> None:
    assert parse_address(text) == Address(host, port)
    assert str(parse_address(text)) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("::1:9610", "::1:9610 is ambiguous: write an IPv6 address in brackets, such as [::1]:9610"),
        ("fe80::1:2:80", "is ambiguous: write an IPv6 address in brackets, such as [fe80::1:2]:80"),
        ("host:1:80", "host:1:80 is ambiguous: write an IPv6 address in brackets, such as [::1]:8500"),
        ("[::1]", "[::1] has no port: write [::1]:PORT"),
        ("::", ":: has no port: write [::]:PORT"),
        *((text, f"{text} is not HOST:PORT: give one such as 127.0.0.1:8500 or [::1]:8500") for text in (
            "8500", ":8500", "", "localhost", "localhost:", "localhost:http", "127.0.0.1:65536", "127.0.0.1:-1",
            "127.0.0.1:٣", "[]:80", "[localhost]:80", "[127.0.0.1]:80", "[::1:80", "::1]:80", "http://localhost:80",
            "a host:80",
        )),
    ],
)  # fmt: skip
def test_what_is_no_address_is_told_what_to_write(text: str, message: str) -> None:
    with pytest.raises(AddressError, match=re.escape(message) + "$"):
        parse_address(text)


@pytest.mark.parametrize("target", ["[::1]:80", "unix:/run/gateway", "dns:///gateway:80", "ipv6:[::1]:80"])
def test_clients_also_take_the_schemes_of_grpc(target: str) -> None:
    grpc_target(target)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *((text, True) for text in (
            "127.0.0.1:1", "127.9.8.7:1", "[::1]:1", "[0:0:0:0:0:0:0:1]:1", "[::ffff:127.0.0.1]:1", "localhost:1",
            "Localhost:1", "unix:/run/gateway", "dns:///localhost:1", "ipv4:127.0.0.1:1", "ipv6:[::1]:1",
            "ipv4:127.0.0.1:1,127.0.0.2:1", "127.1:1", "0x7f000001:1", "2130706433:1",
        )),
        *((text, False) for text in (
            "0.0.0.0:1", "[::]:1", "10.0.0.1:1", "localhost.example.org:1", "[::ffff:10.0.0.1]:1", "no address",
            "ipv4:127.0.0.1:1,10.0.0.1:1", "dns://127.0.0.1/gateway:1",
        )),
    ],
)  # fmt: skip
def test_what_no_other_machine_reaches_is_loopback(text: str, expected: bool) -> None:
    assert is_loopback(text) is expected


@pytest.mark.parametrize("address", ["0.0.0.0:1", "[::]:1", "dns:///0.0.0.0:1", "[::1]:1"])
def test_who_calls_every_interface_stays_on_this_machine_and_needs_no_proxy(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("grpc_proxy", "http://proxy.example.org:3128")
    assert is_on_this_machine(address)
    assert channel_options(address) == [("grpc.enable_http_proxy", 0)]
    assert hint_for_channel(address) == ""
    assert not is_on_this_machine("10.0.0.1:1")
