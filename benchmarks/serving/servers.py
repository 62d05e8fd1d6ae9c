"""The servers that are compared, each a process of its own on loopback."""

import http.client
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.serving.processes import child
from benchmarks.serving.targets import GatewayTarget, LitServeTarget

_START_TIMEOUT_S = 120.0


class ServerError(Exception):
    """A server did not start; the message holds its own last words."""


@contextmanager
def gateway(release: Path, folder: Path, *options: str) -> Iterator[GatewayTarget]:
    """`roadshift serve` with its defaults but for `options`, on free ports.

    Raises:
        ServerError: it did not start.
    """
    log = folder / "gateway.log"
    roadshift = Path(sys.executable).with_name("roadshift")
    ports = ("--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0")
    command: list[str | Path] = [
        roadshift,
        "serve",
        *ports,
        "--release",
        release,
        "--run-dir",
        folder / "gateway",
        *options,
    ]
    with child(command, log) as process:
        # Waits for one line, or for the end: the gateway bounds its own start.
        announcement = process.stdout.readline() if process.stdout else ""
        if not announcement.startswith("serving on port "):
            raise _not_started(log)
        yield GatewayTarget(f"127.0.0.1:{announcement.split()[-1]}", process.pid)


@contextmanager
def litserve(release: Path, folder: Path, workers: int) -> Iterator[LitServeTarget]:
    """LitServe around the same engine, in so many processes.

    Raises:
        ServerError: it did not start.
    """
    log = folder / f"litserve-{workers}.log"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "benchmarks.serving.litserve_app", str(release), str(port), str(workers)]
    with child(command, log) as process:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not _is_healthy(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise _not_started(log)
            time.sleep(0.1)
        yield LitServeTarget(f"http://127.0.0.1:{port}", process.pid)


def _is_healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _not_started(log: Path) -> ServerError:
    return ServerError(f"{log.stem} did not start: {log.read_text()[-500:]}")
