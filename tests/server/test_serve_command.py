"""`roadshift serve` as a process: what it prints, how it drains, and how it says why it cannot start."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from roadshift.v1 import segmentation_pb2 as pb
from roadshift.v1 import segmentation_pb2_grpc as pb_grpc

ROADSHIFT = Path(sys.executable).parent / "roadshift"


@contextmanager
def serving(**environment: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A gateway process with the fake segmenter, and its port; killed at the end unless it has ended."""
    process = subprocess.Popen(
        [ROADSHIFT, "serve", "--fake", "--listen", "127.0.0.1:0", "--metrics", ""],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    with process:
        try:
            line = process.stdout.readline()
            assert line.startswith("serving on port ")
            yield process, int(line.rsplit(" ", 1)[1])
        finally:
            process.kill()


def test_sigterm_answers_what_was_admitted_and_ends_with_0(frame_message: pb.Frame) -> None:
    """Frames are in flight and queued when the signal comes: each of them is answered, later ones are refused."""
    with (
        serving(ROADSHIFT_FAKE_LATENCY_S="1") as (process, port),
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        stub = pb_grpc.SegmentationStub(channel)

        def ask(number: int) -> pb.SegmentResponse:
            frame = pb.Frame()
            frame.CopyFrom(frame_message)
            frame.frame_id = str(number)
            return stub.Segment(pb.SegmentRequest(frame=frame, vehicle_id=f"car-{number}"))

        ask(-1)  # the channel is connected
        with ThreadPoolExecutor(6) as pool:
            first_answer = threading.Event()
            calls = [pool.submit(ask, number) for number in range(6)]
            calls[0].add_done_callback(lambda _: first_answer.set())
            assert first_answer.wait(30)  # so the others have been admitted: each waits for 1 s more than the last
            process.send_signal(signal.SIGTERM)
            assert sorted(call.result().frame_id for call in calls) == [str(number) for number in range(6)]
        with pytest.raises(grpc.RpcError) as refusal:
            ask(7)
        # CANCELLED is gRPC's word for a call in the instant in which the port closes; clients retry both.
        assert refusal.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
        assert process.wait(30) == 0


def test_a_signal_while_the_engine_is_started_ends_the_start(tmp_path: Path) -> None:
    command = [ROADSHIFT, "serve", "--listen", "127.0.0.1:0", "--metrics", "", "--triton-repository", tmp_path]
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection, and says nothing
        triton = f"127.0.0.1:{silent.getsockname()[1]}"
        with subprocess.Popen([*command, "--triton", triton], stderr=subprocess.PIPE, text=True) as process:
            connection, _ = silent.accept()
            process.send_signal(signal.SIGTERM)
            _, log = process.communicate(timeout=30)
            connection.close()
    assert process.returncode == 0
    assert "ending before anything was served" in log


def failing_start(*arguments: str | Path, **environment: str) -> tuple[int, list[str]]:
    command = [ROADSHIFT, "serve", *arguments]
    ended = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)
    return ended.returncode, ended.stderr.splitlines()


def test_an_occupied_port_gets_one_clear_line() -> None:
    with socket.socket() as occupied:
        occupied.bind(("127.0.0.1", 0))
        occupied.listen()
        address = f"127.0.0.1:{occupied.getsockname()[1]}"
        listening = failing_start("--fake", "--listen", address, "--metrics", "")
        metrics = failing_start("--fake", "--listen", "127.0.0.1:0", "--metrics", address)
    for option, (code, lines) in (("--listen", listening), ("--metrics", metrics)):
        assert code == 1
        assert len(lines) == 1
        assert lines[0].startswith(f"error: cannot listen on {address}")
        assert lines[0].endswith(f"or choose another {option}")


STARTER = Path(__file__).parents[2] / "model_repository" / "starter"


def incomplete_release(folder: Path) -> Path:
    shutil.copytree(STARTER, folder / "incomplete")
    (folder / "incomplete" / "engine" / "model.bin").unlink()
    return folder / "incomplete"


def one_token_too_few(folder: Path) -> Path:
    (folder / "tokens").write_text("# ROLE TOKEN\n")
    return folder / "tokens"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (lambda folder: ("--release", folder), r"/manifest\.json is missing: .* is no complete release"),
        (lambda folder: ("--release", __file__), r"\.py is no complete release; export it again$"),
        (lambda folder: ("--release", incomplete_release(folder)), r"/engine/model\.bin is missing: copy the release"),
        (lambda folder: ("--run-dir", __file__), r"cannot be written .* choose another --run-dir$"),
        (lambda folder: ("--triton", "127.0.0.1:1"), "--triton needs --triton-repository"),
        (lambda folder: ("--fake", "--triton", "127.0.0.1:1"), "leave out either --fake or --triton"),
        (lambda folder: ("--fake", "--domain", "Not A Domain"), "'Not A Domain' is not a domain name"),
        (lambda folder: ("--fake", "--listen", "8500"), "--listen 8500 is not HOST:PORT"),
        (lambda folder: ("--fake", "--listen", "127.0.0.1:70000"), "127.0.0.1:70000 is not HOST:PORT"),
        (
            lambda folder: ("--fake", "--listen", "::1:8500"),
            r"--listen ::1:8500 is ambiguous: .* \[::1\]:8500$",
        ),
        (lambda folder: ("--fake", "--metrics", "::1:9500"), r"--metrics ::1:9500 is ambiguous: .* \[::1\]:9500$"),
        (lambda folder: ("--fake", "--listen", "a..b:8500"), r"--listen a\.\.b:8500 names no host that can be"),
        (
            lambda folder: ("--triton", "127.0.0.1:0", "--triton-repository", folder),
            "--triton 127.0.0.1:0 has a port where nobody can be called: give one from 1 to 65535",
        ),
        (lambda folder: ("--fake", "--metrics", ":9500"), "--metrics :9500 is not HOST:PORT"),
        (
            lambda folder: ("--triton", "::1:8001", "--triton-repository", folder),
            r"--triton ::1:8001 is ambiguous: .* \[::1\]:8001$",
        ),
        (lambda folder: ("--fake", "--tls-key", __file__), "TLS needs both --tls-certificate and --tls-key"),
        (lambda folder: ("--fake", "--tls-client-ca", __file__), "TLS needs both --tls-certificate and --tls-key"),
        (
            lambda folder: ("--fake", "--tls-certificate", __file__, "--tls-key", __file__),
            "are not a certificate and its key: give PEM files that belong together",
        ),
        (lambda folder: ("--fake", "--token-file", one_token_too_few(folder)), "holds no token: nobody could call"),
    ],
)
def test_other_reasons_not_to_start_get_one_clear_line_each(
    arguments: Callable[[Path], tuple[str | Path, ...]], message: str, tmp_path: Path
) -> None:
    code, lines = failing_start("--listen", "127.0.0.1:0", "--metrics", "", *arguments(tmp_path))
    assert code == 1
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert re.search(message, lines[0])


def test_a_list_in_the_environment_that_is_none_gets_one_clear_line() -> None:
    code, lines = failing_start("--fake", "--metrics", "", ROADSHIFT_DOMAINS="zurich-night")
    assert code == 1
    assert len(lines) == 1
    assert lines[0].endswith("""a list is written as JSON, such as '["zurich-night"]'""")


def test_a_package_that_is_not_installed_gets_one_clear_line() -> None:
    program = "import sys; sys.modules['prometheus_client'] = None; import cli; cli.app_for(['serve'])"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: the Python package prometheus_client is not installed: run make setup")
    assert len(ended.stderr.splitlines()) == 1


def test_serving_never_loads_torch() -> None:
    code = "import sys, server.cli; print([m for m in ('torch', 'adaptation', 'clients') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
