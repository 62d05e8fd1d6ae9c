"""What a machine can lack: each gets one line that says what to do. And what a dead gateway leaves behind: nothing."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from server.engine_start import started_engine
from server.settings import GatewaySettings
from server.triton.assembly import connect_external, start_embedded
from server.triton.bounded_log import FILE_BYTES, FILE_COUNT, BoundedLog
from server.triton.installation import TritonSetupError, find_installation
from server.triton.process import TritonProcess, find_free_port
from server.triton.shared_memory import SHM_DIR, RegionOwner
from server.triton.stubs import find_stubs

ROADSHIFT = Path(sys.executable).with_name("roadshift")


async def test_an_occupied_port(make_release: Callable, tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]

        with pytest.raises(TritonSetupError, match=f"^port {port}, for Triton's metrics, is taken: stop what listens"):
            await start_embedded(make_release().path, run_dir=tmp_path, metrics_port=port)


async def test_too_little_shared_memory(make_release: Callable, tmp_path: Path) -> None:
    with pytest.raises(TritonSetupError, match=r"MiB are needed: free some, or give it more"):
        await start_embedded(make_release((4096, 8192)).path, run_dir=tmp_path, frames_in_flight=1 << 20)


@pytest.mark.skipif(
    subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode != 0,
    reason="this machine lets nobody mount a /dev/shm of his own",
)
@pytest.mark.parametrize("at_once", [1, 2])
@pytest.mark.parametrize("short_of_kib", [8 << 10, -116])  # no room for Triton itself; none beside the frames
def test_a_small_dev_shm_gets_one_clear_line(
    short_of_kib: int, at_once: int, make_release: Callable, tmp_path: Path
) -> None:
    size_kib = at_once * (16 << 10) - short_of_kib
    serve = f"{ROADSHIFT} serve --listen 127.0.0.1:0 --metrics '' --release {make_release().path} --run-dir {tmp_path}"
    serve += f" --frames-at-once {at_once}"
    mount = f"mount -t tmpfs -o size={size_kib}k tmpfs /dev/shm"
    ended = subprocess.run(["unshare", "-rm", "sh", "-c", f"{mount} && {serve}"], capture_output=True, text=True)
    assert ended.returncode == 1
    assert re.fullmatch(
        rf"error: /dev/shm has \d+ MiB free and {16 * at_once} MiB are needed: free some, or give it more .*\n",
        ended.stderr,
    )


async def test_a_folder_that_another_gateway_uses(make_release: Callable, tmp_path: Path) -> None:
    program = (
        "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print(1, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()

        with pytest.raises(TritonSetupError, match=f"^another gateway uses {tmp_path}: stop it, or choose another"):
            await start_embedded(make_release().path, run_dir=tmp_path)
        other.kill()


def test_a_python_without_a_stub() -> None:
    with pytest.raises(TritonSetupError, match=r"no stub for Python 3\.99: run one of 3\.8, .*3\.11"):
        find_installation("3.99")


def test_the_wheel_is_not_installed() -> None:
    program = "from server.triton.installation import find_installation; find_installation()"
    result = subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, text=True, check=False)

    assert "TritonSetupError: nvidia-pytriton is not installed: run make setup" in result.stderr


async def test_no_triton_where_one_should_be(make_release: Callable, tmp_path: Path) -> None:
    target = f"127.0.0.1:{find_free_port()}"

    with pytest.raises(TritonSetupError, match=f"^no Triton answers at {target}: start it"):
        await connect_external(target, tmp_path, make_release().path)


async def test_a_server_that_does_not_start_is_quoted(tmp_path: Path) -> None:
    regions = RegionOwner()
    process = TritonProcess(find_installation(), tmp_path, tmp_path / "nowhere", regions)

    with pytest.raises(
        TritonSetupError, match=r"^tritonserver ended with status 1: .*nowhere.* \(log: .*triton\.log\)$"
    ):
        await process.start()

    await process.close()
    await process.connection.close()
    regions.close()


async def test_a_killed_gateway_takes_its_triton_along(make_release: Callable, tmp_path: Path) -> None:
    program = """if True:
        import asyncio, pathlib, sys
        from server.triton.assembly import start_embedded
        async def main():
            triton = await start_embedded(pathlib.Path(sys.argv[1]), run_dir=pathlib.Path(sys.argv[2]), threads=1)
            print(triton.process.pid, flush=True)
            await asyncio.Event().wait()
        asyncio.run(main())
    """
    arguments = [sys.executable, "-c", program, str(make_release().path), str(tmp_path)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as gateway:
        assert gateway.stdout is not None
        server_pid = int(gateway.stdout.readline())
        assert find_stubs(server_pid)
        os.kill(gateway.pid, signal.SIGKILL)

    async with asyncio.timeout(20):
        while Path(f"/proc/{server_pid}/exe").exists() or find_stubs(server_pid):
            await asyncio.sleep(0.01)
    RegionOwner().close()
    assert not list(SHM_DIR.glob(f"roadshift-{gateway.pid}-*"))


async def test_the_log_is_bounded(tmp_path: Path) -> None:
    log = BoundedLog(tmp_path / "triton.log")
    stream = asyncio.StreamReader()
    copying = asyncio.create_task(log.copy_from(stream))
    for _ in range(2 * FILE_COUNT):
        stream.feed_data((b"I0101 " + b"x" * 993 + b"\n") * (FILE_BYTES // 1000))
    stream.feed_data(b"E0101 the reason\nI0101 later\n")
    stream.feed_eof()
    await copying
    log.close()

    assert log.last_error() == "E0101 the reason"
    files = sorted(tmp_path.iterdir())
    assert len(files) == FILE_COUNT
    assert all(path.stat().st_size <= FILE_BYTES for path in files)


@pytest.mark.parametrize(("engine_threads", "processes"), [(1, 1), (2, 2)])
async def test_the_engine_has_the_threads_of_the_setting(
    engine_threads: int, processes: int, make_release: Callable, tmp_path: Path
) -> None:
    settings = GatewaySettings(release=make_release().path, run_dir=tmp_path, engine_threads=engine_threads)
    async with started_engine(settings):
        (file,) = tmp_path.rglob("config.pbtxt")
        config = text_format.Parse(file.read_text(), model_config_pb2.ModelConfig())
    assert config.parameters["threads"].string_value == str(engine_threads)
    assert config.instance_group[0].count == processes
