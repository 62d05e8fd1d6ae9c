"""Puts a Triton together: an embedded one, which lives and dies with the gateway, or one that runs elsewhere."""

import fcntl
import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from exchange.net.proxies import hint_for_channel
from exchange.registry.releases import read_manifest
from exchange.usable_cpus import threads_within_quota
from server.triton.client import TritonSegmenter
from server.triton.connection import Access, TritonConnection
from server.triton.engine_turns import best_at_once
from server.triton.installation import TritonSetupError, find_installation
from server.triton.model_config import ModelConfig
from server.triton.process import TritonProcess
from server.triton.repository import TritonRepository
from server.triton.shared_memory import RegionOwner, is_plain
from server.triton.transport import MessageTransport, SharedMemoryTransport
from server.triton.versions import TritonVersions
from server.triton.watch import Watch

FRAMES_IN_FLIGHT = 4
"""Frames inside Triton at once by default: one computes, the others hide the way there and back."""
FOR_PROBES = 1
"""On top of them."""


@dataclass(frozen=True)
class Triton:
    """A Triton that serves; `close` ends it after it has answered what it has taken."""

    segmenter: TritonSegmenter
    versions: TritonVersions
    process: TritonProcess | None
    """None where it runs elsewhere."""
    _stack: AsyncExitStack

    async def close(self) -> None:
        await self._stack.aclose()


async def start_embedded(
    release_dir: Path,
    *,
    run_dir: Path,
    version: int = 1,
    threads: int = 0,
    frames_at_once: int | None = None,
    frames_in_flight: int = FRAMES_IN_FLIGHT,
    metrics_port: int | None = None,
) -> Triton:
    """Starts the tritonserver of the `nvidia-pytriton` wheel, and serves one release with it.

    Args:
        release_dir: a complete release (`exchange.registry.releases`).
        run_dir: a folder of this gateway alone: model repository, socket, backend, triton.log.
        version: the release's number.
        threads: cores for one inference alone; 0 means all that this process may use.
        frames_at_once: how many of them share the cores where several wait, 1 or 2; None takes what suits the release.
        frames_in_flight: how many Triton holds, waiting and computing; the next one is refused.
        metrics_port: Triton's own metrics on 127.0.0.1; None takes a free port.

    Raises:
        TritonSetupError: something on this machine must change first; one line says what.
        VersionLoadFailed, RepositoryError, ReleaseError: the release cannot be served.
    """
    async with AsyncExitStack() as stack:
        stack.callback(_lock(run_dir))
        regions = RegionOwner()
        stack.callback(regions.close)
        repository = TritonRepository(run_dir)
        config = _config(release_dir, threads or threads_within_quota(), frames_at_once)
        process = TritonProcess(
            find_installation(), run_dir, repository.models_dir, regions, metrics_port, config.frames_at_once
        )
        transport = SharedMemoryTransport(process.connection, frames_in_flight + FOR_PROBES, regions)
        stack.push_async_callback(process.connection.close)
        stack.push_async_callback(transport.close)
        stack.push_async_callback(process.close)
        await process.start()
        versions = TritonVersions(process.connection, repository, transport, config, process)
        await _serve(stack, versions, version, release_dir)
        return Triton(TritonSegmenter(versions), versions, process, stack.pop_all())


async def connect_external(
    target: str,
    repository_dir: Path,
    release_dir: Path,
    *,
    version: int = 1,
    threads: int = 0,
    frames_at_once: int | None = None,
    frames_in_flight: int = FRAMES_IN_FLIGHT,
    access: Access | None = None,
) -> Triton:
    """Serves a release by a Triton that runs elsewhere and was started with explicit model control.

    Args:
        target: host:port of its gRPC service.
        repository_dir: a folder that both see; Triton's --model-repository is its `models` folder. Triton should see
            it read-only: a host of another Python would leave its compiled form there, and so be reloaded.
        access: name and key of its --grpc-restricted-protocol, if it has one.
        release_dir, version, threads, frames_at_once, frames_in_flight: as for `start_embedded`; what suits the
            release is told by the cores of this machine.

    Raises:
        TritonSetupError, VersionLoadFailed, RepositoryError, ReleaseError: as `start_embedded`.
    """
    if not is_plain(repository_dir.absolute()):
        raise TritonSetupError(
            f"Triton starts no version below {str(repository_dir.absolute())!r}: give --triton-repository, and that "
            "Triton's --model-repository, a path of letters a-z, digits and '/._+@-', such as a symbolic link to it"
        )
    async with AsyncExitStack() as stack:
        connection = TritonConnection(target, access)
        stack.push_async_callback(connection.close)
        if not await connection.is_live():
            remedy = "start it, or leave --triton away to embed one"
            raise TritonSetupError(f"no Triton answers at {target}: {remedy}{hint_for_channel(target)}")
        transport = MessageTransport(connection, frames_in_flight + FOR_PROBES)
        stack.push_async_callback(transport.close)
        repository = TritonRepository(repository_dir)
        config = _config(release_dir, threads, frames_at_once)
        versions = TritonVersions(connection, repository, transport, config, None)
        await _serve(stack, versions, version, release_dir)
        return Triton(TritonSegmenter(versions), versions, None, stack.pop_all())


async def _serve(stack: AsyncExitStack, versions: TritonVersions, number: int, release_dir: Path) -> None:
    await versions.load(number, release_dir)
    watch = Watch(versions)
    stack.push_async_callback(watch.close)
    watch.start()


def _config(release_dir: Path, threads: int, frames_at_once: int | None) -> ModelConfig:
    return ModelConfig(
        threads=threads, frames_at_once=frames_at_once or best_at_once(read_manifest(release_dir), threads)
    )


def _lock(run_dir: Path) -> Callable[[], None]:
    """Takes a folder for this process; returns what gives it back."""
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(run_dir / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise TritonSetupError(f"{run_dir} cannot be written ({error.strerror}): choose another --run-dir") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise TritonSetupError(f"another gateway uses {run_dir}: stop it, or choose another --run-dir") from None
    return lambda: os.close(descriptor)
