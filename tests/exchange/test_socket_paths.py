"""Sockets by a path: every letter stands for itself to both sides, and what gRPC cannot open is refused at once."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from exchange.net.calling import Connection
from exchange.net.listening import StartupError, check_free, open_port


@dataclass
class Plain:
    listen: str
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    insecure: bool = False


@pytest.mark.parametrize("name", ["a b", "a#b", "a?b", "a%20b", "ü 日本", "$x;&'\"\\", "-x"])
def test_a_socket_of_any_name_is_made_and_found(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    folder = tmp_path_factory.mktemp("s")
    address = f"unix:{folder}/{name}"
    check_free(address, "--listen")
    server = grpc.server(ThreadPoolExecutor(1))
    open_port(server, Plain(address))
    server.start()
    assert [path.name for path in folder.iterdir()] == [name]
    with Connection(address).open_channel() as channel:
        grpc.channel_ready_future(channel).result(timeout=60)
    server.stop(0).wait()


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("unix:/tmp/a,b", "give one without commas and control characters"),
        ("unix:/tmp/a\nb", "give one without commas and control characters"),
        ("unix:", "has 0 bytes of path"),
        ("unix:/tmp/" + "ü" * 54, "has 113 bytes of path, and a socket's are 1 to 107: give a shorter one"),
    ],
)
def test_a_path_that_no_socket_can_have_is_refused(address: str, told: str) -> None:
    with pytest.raises(StartupError, match=f"^--listen .*{told}"):
        check_free(address, "--listen")
    with pytest.raises(ValueError, match=told):
        Connection(address)
