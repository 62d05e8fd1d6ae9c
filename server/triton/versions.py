"""Loads, proves, drops and brings back versions; the only one that controls its Triton.

A load is all or nothing across versions, and never touches one that is loaded and unchanged on disk: so versions are
added and taken away, and none is ever reloaded but one whose process has died.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import grpc
import numpy as np

from exchange.label_space import NUM_CLASSES
from exchange.registry.releases import Manifest
from server.cannot_load import CannotLoad
from server.errors import EngineFailed, EngineUnavailable, Overloaded, ServingError, Unavailable
from server.segmenter import SegmenterOutput
from server.triton.connection import TritonConnection
from server.triton.engine_turns import EngineTurns
from server.triton.loaded_versions import LoadedVersion, LoadedVersions
from server.triton.model_config import ModelConfig
from server.triton.repository import TritonRepository
from server.triton.status import load_failure
from server.triton.tensors import Arrays, inputs_of
from server.triton.transport import Inference, Transport

HANG_LIMIT_S = 30.0
"""An inference that takes longer than this will not end."""
BUSY_PAUSE_S = 0.02
LIVENESS_TIMEOUT_S = 1.0


class VersionLoadFailed(CannotLoad):
    """A version could not be loaded; what was loaded before serves on. The message is one line."""


class Server(Protocol):
    """The process behind the connection, where it is ours."""

    on_death: Callable[[], None]

    async def start(self) -> None: ...

    async def kill(self) -> None: ...

    def kill_version(self, number: int) -> bool: ...

    def living_versions(self) -> set[int]: ...

    def look_after_stubs(self) -> None: ...

    def check_room(self, release_dir: Path) -> None: ...


class TritonVersions:
    def __init__(
        self,
        connection: TritonConnection,
        repository: TritonRepository,
        transport: Transport,
        config: ModelConfig,
        server: Server | None,
    ) -> None:
        self._connection = connection
        self._repository = repository
        self._transport = transport
        self._config = config
        self._server = server
        self._turns = EngineTurns(config.frames_at_once)
        self._control = asyncio.Lock()
        self.loaded = LoadedVersions()
        self.restarts = 0
        """How often the server, or the process of a version, had to be brought back."""
        if server is not None:
            server.on_death = self._mark_dead

    async def load(self, number: int, release_dir: Path) -> None:
        """Adds a version beside those that serve, and shows by a real inference that it works.

        Raises:
            VersionLoadFailed: Triton refused it, or its first inference failed; the others serve on.
            RepositoryError, ReleaseError: the release cannot be published.
            TritonSetupError: there is no memory left for it, or no shared memory for frames of its size.
        """
        async with self._control:
            if number in self.loaded:
                return
            manifest = await asyncio.to_thread(self._repository.publish, number, release_dir)
            version = LoadedVersion(number, manifest)
            try:
                self._check_engine(manifest)
                await self._transport.open(manifest.frame_size)
                if self._server is not None:
                    await asyncio.to_thread(self._server.check_room, release_dir)
                await self._serve_exactly({*self.loaded.ready, number})
                await self._prove_when_free(version)
            except ServingError as error:
                await self._forget(version)
                raise VersionLoadFailed(f"version {number} cannot be loaded: {error}") from error
            except BaseException:
                await self._forget(version)
                raise
            self.loaded.add(version)

    async def drop(self, number: int) -> None:
        """Stops serving a version; what it is computing finishes.

        Raises:
            ValueError: it is not loaded, or is the only one.
        """
        async with self._control:
            if number not in self.loaded or len(self.loaded.numbers()) == 1:
                raise ValueError(f"version {number} cannot be dropped; loaded are {self.loaded.numbers()}")
            version = self.loaded[number]
            self.loaded.remove(number)
            await self._forget(version)

    def expecting(self) -> AbstractContextManager[None]:
        return self._turns.expecting()

    async def infer(self, number: int, inputs: Arrays) -> SegmenterOutput:
        """A live inference; its outcome counts as a probe."""
        version = self.loaded[number]
        version.used_s = time.monotonic()
        inference = self._start(version, inputs)
        # Triton answers the frames of a dead version one a second; the callers need not wait for that.
        await asyncio.wait((inference, version.down), return_when=asyncio.FIRST_COMPLETED)
        if not inference.done() or inference.cancelled():
            raise EngineUnavailable(f"version {number} is being brought back: try again")
        try:
            return inference.result()
        except Unavailable as error:
            self.loaded.mark_down(version, str(error))
            raise

    async def is_live(self) -> bool:
        """Whether the server answers at all: costs next to nothing, and does not show that a version works."""
        return await self._connection.is_live(LIVENESS_TIMEOUT_S)

    async def probe(self, version: LoadedVersion) -> None:
        """Finds out whether a version works."""
        try:
            await self._prove(version)
        except Overloaded:  # the frames that keep it busy will tell
            pass
        except ServingError as error:
            self.loaded.mark_down(version, str(error))

    async def end_hang(self, version: LoadedVersion) -> None:
        """Marks a version down whose inference does not end; its process is killed or, failing that, its server."""
        if self._server is not None and not self._server.kill_version(version.number):
            await self._server.kill()
        self.loaded.mark_down(version, f"no answer for {HANG_LIMIT_S:.0f} s")

    async def bring_back(self) -> None:
        """Makes every version that is down work again: the server first if it has ended, then one after the other.

        Raises:
            VersionLoadFailed, ServingError: for one that could not be brought back, after all others were.
            TritonSetupError: the server does not start.
        """
        async with self._control:
            restarted = await self._bring_back_server()
            failures: list[Exception] = []
            for version in self.loaded.down():
                try:
                    restarted |= await self._bring_back_version(version)
                    self.loaded.mark_up(version)
                except (VersionLoadFailed, ServingError) as error:
                    failures.append(error)
            self.restarts += restarted
            if failures:
                raise failures[0]

    def _mark_dead(self) -> None:
        if self._server is not None:
            self.loaded.mark_all_down("its process has ended", except_for=self._server.living_versions())

    async def _bring_back_server(self) -> bool:
        """Whether it had to be started anew."""
        if await self._connection.is_live():
            return False
        self.loaded.mark_all_down("Triton does not answer")
        if self._server is None:
            raise EngineUnavailable("Triton does not answer: is it running, and reachable?")
        await self._server.kill()
        await self._server.start()
        return True

    async def _bring_back_version(self, version: LoadedVersion) -> bool:
        """Whether it had to be loaded anew."""
        if self._server is None or version.number in self._server.living_versions():
            with contextlib.suppress(ServingError):
                await self._prove_when_free(
                    version
                )  # the failure was an earlier process's, or Triton came back by itself
                return False
        if self._server is not None:
            self._server.kill_version(version.number)  # what is left of it: one process of two
        await self._transport.open(version.frame_size)
        await asyncio.to_thread(self._repository.touch, version.number)
        await self._serve_exactly({*self.loaded.ready, version.number})
        await self._prove_when_free(version)
        return True

    def _check_engine(self, manifest: Manifest) -> None:
        config = self._config.for_engine(manifest)
        if self.loaded.numbers() and config != self._config:
            raise VersionLoadFailed(
                "one Triton serves either TensorRT releases of one frame size or releases of the other engines: "
                "export this one like those that are loaded"
            )
        self._config = config

    async def _serve_exactly(self, numbers: Iterable[int]) -> None:
        """All of these versions or, where Triton refuses, what was served before."""
        previous, self._config = self._config, self._config.for_versions(numbers)
        try:
            # A load without the override, and one by somebody else, would fall back to what the file says.
            await asyncio.to_thread(self._repository.write_config, self._config)
            await self._connection.load(self._config.to_json())
        except grpc.aio.AioRpcError as error:
            self._config = previous
            await asyncio.to_thread(self._repository.write_config, previous)
            raise VersionLoadFailed(load_failure(error)) from error
        finally:
            if self._server is not None:
                self._server.look_after_stubs()

    async def _forget(self, version: LoadedVersion) -> None:
        """Leaves Triton, the repository and the transport without a version that is not among the loaded ones."""
        if self.loaded.ready:
            with contextlib.suppress(VersionLoadFailed):  # a dead Triton comes back without it
                await self._serve_exactly(self.loaded.ready)
        await asyncio.to_thread(self._repository.remove, version.number)
        await self._transport.close_unused(self.loaded.frame_sizes())

    async def _prove_when_free(self, version: LoadedVersion) -> None:
        """`_prove`, as soon as fewer frames are in flight."""
        give_up_s = time.monotonic() + HANG_LIMIT_S
        while True:
            try:
                return await self._prove(version)
            except Overloaded:
                if time.monotonic() > give_up_s:
                    raise
                await asyncio.sleep(BUSY_PAUSE_S)

    def _start(self, version: LoadedVersion, inputs: Arrays) -> Inference:
        """Raises Overloaded if no more can be in flight."""
        turn = self._turns.join()
        try:
            inference = self._transport.start(version.number, version.frame_size, inputs, turn.alone)
        except Overloaded:
            turn.end()
            raise
        return version.start(inference, turn)

    async def _prove(self, version: LoadedVersion) -> None:
        """Raises ServingError unless the version answers a black frame sensibly."""
        size, start_s = version.frame_size, time.monotonic()
        inputs = inputs_of(np.zeros((*size, 3), np.uint8), np.zeros(NUM_CLASSES, np.float32), size)
        inference = self._start(version, inputs)
        for _ in range(2):  # half the time is over where this process stood still meanwhile
            await asyncio.wait((inference,), timeout=HANG_LIMIT_S / 2)
        if not inference.done() or inference.cancelled():
            raise EngineUnavailable(f"version {version.number} has not answered for {HANG_LIMIT_S:.0f} s")
        output = inference.result()
        version.proof_s = time.monotonic() - start_s
        if output.labels_HW.max() >= NUM_CLASSES or not np.isfinite(output.mean_probability_K).all():
            raise EngineFailed(f"version {version.number} answers nonsense: export it again")
