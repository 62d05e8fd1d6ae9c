"""Proxies that the environment names: what is on this machine is reached without, and one in the way is named."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from clients.client import AsyncRoadshiftClient, Connection, RequestFailed, RoadshiftClient
from clients.gateway_status import ask_gateway
from exchange.net.addresses import grpc_target
from exchange.net.proxies import hint_for_channel, hint_for_url
from exchange.storage import StorageUnavailable, open_root
from server.triton.connection import TritonConnection
from tests.gateways import StartGateway
from tests.ipv6 import needs_ipv6

ROADSHIFT = Path(sys.executable).with_name("roadshift")
PROXIES = ("grpc_proxy", "https_proxy", "http_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
EXCEPTIONS = ("no_grpc_proxy", "no_proxy", "NO_PROXY")


@pytest.fixture
def closed_proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A proxy that every variable names, and that takes no connection."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # kept, so that nobody else listens there
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        for name in EXCEPTIONS:
            monkeypatch.delenv(name, raising=False)
        for name in PROXIES:
            monkeypatch.setenv(name, url)
        yield url


@pytest.mark.parametrize(
    "listen", ["127.0.0.1", "127.1", "0x7f000001", "localhost", pytest.param("[::1]", marks=needs_ipv6)]
)
async def test_a_gateway_on_this_machine_is_reached_without(
    start_gateway: StartGateway, known_frame: NDArray[np.uint8], closed_proxy: str, listen: str
) -> None:
    served = await start_gateway(listen=f"{listen}:0", metrics=f"{listen}:0")
    address, metrics = f"{listen}:{served.gateway.port}", f"{listen}:{served.gateway.metrics_port}"

    def ask() -> None:
        with RoadshiftClient(Connection(address), timeout_s=60) as client:
            client.segment(known_frame)
        assert not ask_gateway(Connection(address), metrics).metrics_error

    await asyncio.to_thread(ask)
    async with AsyncRoadshiftClient(Connection(address), timeout_s=60) as client:
        await client.segment(known_frame)
    triton = TritonConnection(grpc_target(address))
    assert await triton.is_live(timeout_s=60)
    await triton.close()


async def test_the_commands_reach_it_too(start_gateway: StartGateway, closed_proxy: str, tmp_path: Path) -> None:
    served = await start_gateway(metrics="127.0.0.1:0")
    addresses = ("--server", served.address, "--metrics", f"127.0.0.1:{served.gateway.metrics_port}")
    command = [ROADSHIFT, "status", *addresses]
    ended = await asyncio.to_thread(subprocess.run, command, env=os.environ, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "versions serving" in ended.stdout


@pytest.mark.usefixtures("closed_proxy")
def test_a_call_that_a_proxy_loses_names_the_variable() -> None:
    with (
        RoadshiftClient(Connection("192.0.2.1:8500"), timeout_s=3) as client,
        pytest.raises(RequestFailed, match=r"\(grpc_proxy sends this call to a proxy: unset it, or name 192\.0\.2\.1"),
    ):
        client.is_serving()


@pytest.mark.usefixtures("closed_proxy")
def test_a_bucket_elsewhere_that_a_proxy_loses_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test", "REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://192.0.2.1:9000")
    with pytest.raises(StorageUnavailable, match=r"\(http_proxy sends this call to a proxy"):
        open_root("s3://fleet/x", patience_s=0.5).read("plan")


def test_only_a_variable_that_counts_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PROXIES, *EXCEPTIONS):
        monkeypatch.delenv(name, raising=False)
    assert hint_for_channel("gateway.example:8500") == hint_for_url("http://gateway.example/metrics") == ""
    monkeypatch.setenv("ALL_PROXY", "http://user:secret@proxy.example:3128")
    assert hint_for_channel("gateway.example:8500") == ""
    assert "(ALL_PROXY sends" in hint_for_url("https://bucket.example")
    monkeypatch.setenv("http_proxy", "http://user:secret@proxy.example:3128")
    for target in ("gateway.example:8500", "dns:///gateway.example:8500", "[2001:db8::1]:8500"):
        assert "(http_proxy sends" in hint_for_channel(target)
        assert "secret" not in hint_for_channel(target)
    for target in ("127.0.0.1:1", "localhost:1", "[::1]:1", "unix:/run/gateway"):
        assert hint_for_channel(target) == ""
    monkeypatch.setenv("no_proxy", "internal.example,gateway.example")
    assert hint_for_channel("gateway.example:8500") == hint_for_url("http://gateway.example/metrics") == ""
