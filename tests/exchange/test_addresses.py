"""Addresses of options and settings: what is taken, and what one that is wrong is told."""

import re
from pathlib import Path

import pytest

from exchange.net.addresses import (
    Address,
    AddressError,
    called_target,
    grpc_target,
    is_loopback,
    is_on_this_machine,
    parse_address,
    resolves_to_this_machine,
)
from exchange.net.calling import Connection
from exchange.net.proxies import channel_options, excluding_s3_proxies, hint_for_channel


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:8500", "127.0.0.1", 8500),
        ("gateway.example.org:0", "gateway.example.org", 0),
        ("[::1]:65535", "::1", 65535),
        ("[::]:9500", "::", 9500),
        ("[fe80::1%eth0]:9500", "fe80::1%eth0", 9500),
        ("my_gateway-1.example.:9500", "my_gateway-1.example.", 9500),
        ("müller.example:9500", "müller.example", 9500),
        (f"{'a' * 63}:9500", "a" * 63, 9500),
        ("127.1:9500", "127.1", 9500),
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
            f"a:{'9' * 5000}", "127.0.0.1:٣", "[]:80", "[localhost]:80", "[127.0.0.1]:80", "[::1:80", "::1]:80", "http://localhost:80",
            "a host:80",
        )),
        *((text, f"{text} names no host that can be: give an IP address, or a name whose parts between dots have 1"
           " to 63 letters, digits, '-' and '_'") for text in (
            "a..b:80", ".a:80", ".:80", f"{'a' * 64}.org:80", f"{'a.' * 127}a:80", "a,b:80", "a%b:80", "256.0.0.1:80",
            "1.2.3.4.5:80", "ü..b:80",
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
    ("text", "target"),
    [
        ("127.1:80", "127.0.0.1:80"),
        ("0x7f000001:80", "127.0.0.1:80"),
        ("dns:///127.1:80", "dns:///127.0.0.1:80"),
        ("ipv4:127.1:80,10.1:81", "ipv4:127.0.0.1:80,10.0.0.1:81"),
        ("ip6-localhost:80", "ip6-localhost:80"),
        ("[0::1]:80", "[0::1]:80"),
        ("unix:/run/127.1:80", "unix:/run/127.1%3A80"),
    ],
)
def test_no_resolver_is_asked_what_a_short_ip_address_means(text: str, target: str) -> None:
    assert grpc_target(text) == target


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *((text, True) for text in (
            "127.0.0.1:1", "127.9.8.7:1", "[::1]:1", "[0:0:0:0:0:0:0:1]:1", "[::ffff:127.0.0.1]:1", "localhost:1",
            "Localhost:1", "unix:/run/gateway", "dns:///localhost:1", "ipv4:127.0.0.1:1", "ipv6:[::1]:1",
            "ipv4:127.0.0.1:1,127.0.0.2:1", "127.1:1", "0x7f000001:1", "0X7F.1:1", "2130706433:1", "0177.0.0.1:1",
        )),
        *((text, False) for text in (
            "0.0.0.0:1", "[::]:1", "10.0.0.1:1", "localhost.example.org:1", "[::ffff:10.0.0.1]:1", "no address",
            "ipv4:127.0.0.1:1,10.0.0.1:1", "dns://127.0.0.1/gateway:1", "10.1:1", "0x0a000001:1",
        )),
    ],
)  # fmt: skip
def test_what_no_other_machine_reaches_is_loopback(text: str, expected: bool) -> None:
    assert is_loopback(text) is expected


@pytest.mark.parametrize("address", ["0.0.0.0:1", "[::]:1", "dns:///0.0.0.0:1", "[::1]:1", "0:1"])
def test_who_calls_every_interface_stays_on_this_machine_and_needs_no_proxy(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("grpc_proxy", "http://proxy.example.org:3128")
    assert is_on_this_machine(address)
    assert channel_options(address) == [("grpc.enable_http_proxy", 0)]
    assert hint_for_channel(address) == ""
    assert not is_on_this_machine("10.0.0.1:1")


def loopback_name() -> str:
    """Another name than localhost that this machine resolves to loopback."""
    lines = (line.partition("#")[0].split() for line in Path("/etc/hosts").read_text().splitlines())
    names = [name for words in lines if words and Address(words[0], 0).is_loopback for name in words[1:]]
    found = next((name for name in names if name != "localhost" and resolves_to_this_machine(f"{name}:1")), None)
    return found or pytest.skip("the hosts file has no such name")


def test_a_name_of_loopback_needs_no_proxy_and_is_not_trusted_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    name = loopback_name()
    monkeypatch.setenv("grpc_proxy", "http://proxy.example.org:3128")
    for target in (f"{name}:1", f"dns:///{name}:1"):
        assert channel_options(target) == [("grpc.enable_http_proxy", 0)]
        assert hint_for_channel(target) == ""
    assert not is_loopback(f"{name}:1")
    assert excluding_s3_proxies(f"http://{name}:9000")["proxy_excludes"] == name


def test_a_store_on_loopback_is_no_proxys_however_it_is_written() -> None:
    assert excluding_s3_proxies("http://127.1:9000")["proxy_excludes"] == "127.1,127.0.0.1"
    assert excluding_s3_proxies("http://127.0.0.1:9000")["proxy_excludes"] == "127.0.0.1"
    assert not excluding_s3_proxies("http://10.0.0.1:9000")


@pytest.mark.parametrize("target", ["127.0.0.1:0", "[::1]:0", "dns:///gateway:0", "ipv4:10.0.0.1:1,10.0.0.2:65536"])
def test_a_port_where_nobody_can_be_called_is_refused(target: str) -> None:
    with pytest.raises(AddressError, match=re.escape(f"{target} has a port where nobody can be called")):
        called_target(target)
    with pytest.raises(ValueError, match="where nobody can be called"):
        Connection(target)


def test_a_name_behind_a_scheme_must_be_possible_too() -> None:
    for target in ("dns:///a b:1", "dns:a..b:1", "dns:///a..b"):
        with pytest.raises(AddressError, match="names no host that can be"):
            called_target(target)
    for target in (
        "dns:///gateway",
        "dns://10.0.0.1/gateway:1",
        "unix:/run/a b",
        "ipv6:[::1]:1",
        "ipv6:[::1]",
        "ipv6:::1",
    ):
        called_target(target)


def test_a_refused_address_names_its_option() -> None:
    for option in ("--server", "--learner"):
        with pytest.raises(ValueError, match=rf"^{option} a\.\.b:1 names no host"):
            Connection.from_environment("a..b:1", option)
