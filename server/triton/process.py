"""One tritonserver as a child process: started, its log kept within a bound, and ended with everything it started."""

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import socket
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import cast

from exchange.registry.releases import ENGINE_FOLDER
from server.triton.bounded_log import BoundedLog
from server.triton.connection import Access, TritonConnection
from server.triton.headroom import check_memory
from server.triton.installation import TritonInstallation, TritonSetupError
from server.triton.shared_memory import RegionOwner, check_free_space
from server.triton.stubs import DeathWatch, find_stubs

ACCESS_NAME = "roadshift"
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
STUB_REGION_BYTES = 16 << 20
"""What the Python backend takes from /dev/shm per stub at once: a 2048 x 1024 frame and its labels fit."""
STUB_START_TIMEOUT_S = 120


class TritonProcess:
    """Owns tritonserver and its folder.

    Nothing of it listens where another user could reach it: requests come through a Unix socket in a folder of mode
    700, metrics through a loopback port, HTTP is off. Model control and shared memory, which are as good as running
    code, also want a random key.
    """

    def __init__(
        self,
        installation: TritonInstallation,
        run_dir: Path,
        models_dir: Path,
        regions: RegionOwner,
        metrics_port: int | None = None,
        stubs_per_version: int = 1,
    ) -> None:
        self._installation = installation.by_plain_paths(regions.plain_path)
        self.models_dir = models_dir
        self._regions = regions
        self._metrics_port = metrics_port
        self._stubs_per_version = stubs_per_version
        backends_dir = run_dir / "backends"
        shutil.rmtree(backends_dir, ignore_errors=True)
        self._installation.copy_python_backend(backends_dir)
        self._folders = {
            "model-repository": regions.plain_path("models", models_dir),
            "backend-directory": regions.plain_path("backends", backends_dir),
        }
        self._log = BoundedLog(run_dir / "triton.log")
        self.access: Access = (ACCESS_NAME, secrets.token_hex(16))
        self._process: asyncio.subprocess.Process | None = None
        self._log_task: asyncio.Task[None] | None = None
        self.on_death: Callable[[], None] = lambda: None
        """Called when the server, or a process of a version, has ended; `living_versions` says which are left."""
        self._deaths = DeathWatch(lambda: self.on_death())
        self._address = f"unix:{regions.private_dir}/triton"
        self.target = f"{self._address}:1"  # Triton joins address and port also where the address is a socket's path
        self.connection = TritonConnection(self.target, self.access)

    @property
    def pid(self) -> int | None:
        """The running server's, None while it does not run."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def start(self) -> None:
        """Starts the server and waits until it answers; it has loaded no model then.

        Raises:
            TritonSetupError: it ended or did not answer in time; the message holds its own last error.
        """
        check_free_space(self._stubs_per_version * STUB_REGION_BYTES)
        if self._metrics_port is not None:
            _check_port_is_free(self._metrics_port)
        launcher = Path(__file__).with_name("run_guarded.py")
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", str(launcher), str(os.getpid()), *self._command(),
            env=self._installation.environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            umask=0o077,  # the regions that it makes hold frames
            start_new_session=True,  # an interrupt at the terminal is the gateway's, which drains first
        )  # fmt: skip
        self._deaths.add(self._process.pid)
        output = cast(asyncio.StreamReader, self._process.stdout)
        self._log_task = asyncio.create_task(self._log.copy_from(output))
        ended = asyncio.create_task(self._process.wait())
        live = asyncio.create_task(self.connection.wait_until_live())
        done, _ = await asyncio.wait({ended, live}, timeout=START_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        for task in (ended, live):
            task.cancel()
        if live not in done or live.exception() is not None:
            how = f"ended with status {self._process.returncode}" if ended in done else f"not up in {START_TIMEOUT_S} s"
            await self.kill()
            raise TritonSetupError(f"tritonserver {how}: {self._log.last_error()} (log: {self._log.path})")

    async def stop(self) -> None:
        """Lets running and queued requests finish, then ends the server and removes what it left."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), STOP_TIMEOUT_S)
        await self.kill()

    async def kill(self) -> None:
        """Ends the server and its stubs at once and removes their regions."""
        process, log_task = self._process, self._log_task
        if process is None or log_task is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        await log_task  # ends when the last holder of the pipe, the last stub, has gone
        if self._process is process:  # else another call was quicker, and a new server may run
            self._process = self._log_task = None
            self._regions.remove_stub_regions()

    def kill_version(self, number: int) -> bool:
        """Ends the processes of one version, however they hang; whether it has one."""
        pids = [stub.pid for stub in find_stubs(self.pid) if stub.version == number] if self.pid is not None else []
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return bool(pids)

    async def close(self) -> None:
        self._deaths.close()
        await self.stop()
        self._log.close()

    def check_room(self, release_dir: Path) -> None:
        """Raises TritonSetupError if memory or /dev/shm cannot take a release as one more version."""
        check_memory(release_dir / ENGINE_FOLDER, self._stubs_per_version)
        check_free_space(self._stubs_per_version * STUB_REGION_BYTES)

    def living_versions(self) -> set[int]:
        """The versions of which every process lives; none when the server has ended."""
        stubs = Counter(stub.version for stub in find_stubs(self.pid)) if self.pid is not None else Counter[int]()
        return {version for version, count in stubs.items() if count >= self._stubs_per_version}

    def look_after_stubs(self) -> None:
        """Watches the stubs that have come since, and removes the regions of those that have gone."""
        stubs = find_stubs(self.pid) if self.pid is not None else []
        for stub in stubs:
            self._deaths.add(stub.pid)
        self._regions.remove_stub_regions(except_for=[stub.region for stub in stubs])

    def _command(self) -> list[str]:
        backend_settings = {
            "shm-region-prefix-name": self._regions.stub_prefix,
            "shm-default-byte-size": STUB_REGION_BYTES,
            "stub-timeout-seconds": STUB_START_TIMEOUT_S,
        }
        options = {
            **self._folders,
            "model-control-mode": "explicit",
            "allow-http": "false",
            "grpc-address": self._address,
            "grpc-port": 1,
            "grpc-restricted-protocol": f"model-repository,shared-memory:{'='.join(self.access)}",
            "metrics-address": "127.0.0.1",
            "metrics-port": self._metrics_port or find_free_port(),
            "allow-gpu-metrics": "false",
            "exit-timeout-secs": round(STOP_TIMEOUT_S) - 2,
        }
        arguments = [f"--{name}={value}" for name, value in options.items()]
        arguments += [f"--backend-config=python,{name}={value}" for name, value in backend_settings.items()]
        return [str(self._installation.server), "--disable-auto-complete-config", *arguments]


def find_free_port() -> int:
    """A loopback port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _check_port_is_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise TritonSetupError(
                f"port {port}, for Triton's metrics, is taken: stop what listens there, or choose another"
            ) from error
