"""A gateway of our own for the demo, and the rate at which a fleet may load it."""

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from clients.client import Connection, FrameSettings, RequestFailed, RoadshiftClient
from clients.rendered_frames import RenderedFrame

_READY = re.compile(r"serving on port (\d+)")
_START_TIMEOUT_S = 300.0
_STOP_TIMEOUT_S = 45.0
_LOAD = 0.6
"""Share of the measured capacity that the fleet asks for: enough to be busy, not enough to be refused."""


class DemoError(Exception):
    """The demo cannot go on; the message says why, in the gateway's own words where it gave some."""


@contextmanager
def own_gateway(options: Sequence[str], log: Path) -> Iterator[Callable[[], str]]:
    """A `roadshift serve` of our own on a free port, which is ended with SIGTERM.

    Yields at once, so that other work can be done while it starts: a function that waits, and returns its address.

    Raises:
        DemoError: it did not start, or did not end cleanly.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [str(Path(sys.executable).with_name("roadshift")), "serve", "--listen", "127.0.0.1:0", *options]
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)  # noqa: S603 - our own command
        try:
            yield lambda: f"127.0.0.1:{_wait_for_port(process, log)}"
        finally:  # also after Ctrl-C: a gateway that is killed leaves shared memory to the next one to remove
            code = _stop(process)
    if code != 0:
        raise DemoError(f"the gateway ended with code {code}; its log is {log}")


def _stop(process: subprocess.Popen[bytes]) -> int:
    """Its exit code: -9 where it did not end in time."""
    process.terminate()
    try:
        return process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _wait_for_port(process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        text = log.read_text()
        if found := _READY.search(text):
            return int(found[1])
        if process.poll() is not None:
            errors = (line for line in text.splitlines() if line.startswith("error: "))
            raise DemoError(next(errors, text[-500:]).removeprefix("error: "))
        time.sleep(0.05)
    raise DemoError(f"the gateway did not start within {_START_TIMEOUT_S:.0f} s; its log is {log}")


def sustainable_rate(connection: Connection, drive: Sequence[RenderedFrame], vehicles: int) -> float:
    """Frames per second of each vehicle that load the gateway to a comfortable share of what it can do.

    Raises:
        DemoError: a frame was not answered.
    """
    with RoadshiftClient(connection, FrameSettings("capacity", domain="default"), timeout_s=60.0) as client:
        try:
            client.segment(drive[0].jpeg)
            started = time.perf_counter()
            for frame in drive[:3]:
                client.segment(frame.jpeg)
        except RequestFailed as error:
            raise DemoError(f"the gateway did not answer its first frames: {error}") from error
        return _LOAD * len(drive[:3]) / (time.perf_counter() - started) / vehicles
