"""Finds out what does not work, and has it brought back.

A death is told by the kernel at once, where the processes are ours (`stubs.DeathWatch`); a server elsewhere is asked
twice a second whether it lives. Both cost nothing. That a silent version still computes is shown by an inference,
as often as a small share of the engine's time allows, and at once where the server leaves its life in doubt.
"""

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import Any

from server.triton.loaded_versions import LoadedVersion
from server.triton.versions import HANG_LIMIT_S, TritonVersions

PROBE_SHARE = 0.03
"""Of an idle engine's time, for probes; within these bounds of the silence before one."""
SHORTEST_SILENCE_S, LONGEST_SILENCE_S = 1.0, 15.0
LIVENESS_EVERY_S = 0.5
TICK_S = 0.2
STOOD_STILL_S = 2.0
"""Where a tick comes so late, this process was stopped, as by SIGSTOP or with its machine: nobody else was silent."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 5.0
"""Between one repair and the next of a row; the first of a row starts at once."""
ROW_ENDS_AFTER_S = 60.0

log = logging.getLogger(__name__)


class Watch:
    """Three tasks from `start` to `close`; none ends by itself."""

    def __init__(self, versions: TritonVersions) -> None:
        self._versions = versions
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        self._run(self._ask_the_server())
        self._run(self._probe_the_silent())
        self._run(self._repair_the_dead())

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask_the_server(self) -> None:
        while True:
            await asyncio.sleep(LIVENESS_EVERY_S)
            if self._silent_for(LIVENESS_EVERY_S) and not await self._versions.is_live():
                for version in self._silent_for(LIVENESS_EVERY_S):
                    self._run(self._versions.probe(version))

    def _silent_for(self, seconds: float) -> list[LoadedVersion]:
        up = self._versions.loaded.up()
        return [version for version in up if not version.in_flight and version.silent_s() >= seconds]

    async def _probe_the_silent(self) -> None:
        ticked_s = time.monotonic()
        while True:
            late_s, ticked_s = time.monotonic() - ticked_s - TICK_S, time.monotonic()
            up = self._versions.loaded.up()
            if late_s > STOOD_STILL_S:
                for version in up:
                    version.forgive(late_s)
            some_in_use = any(version.is_in_use() for version in up)
            for version in up:
                standby = some_in_use and not version.is_in_use()
                if not version.in_flight and version.silent_s() >= longest_silence_s(version.proof_s, standby):
                    self._run(self._versions.probe(version))
                elif version.longest_s() >= HANG_LIMIT_S:
                    await self._versions.end_hang(version)
            await asyncio.sleep(TICK_S)

    async def _repair_the_dead(self) -> None:
        pause_s, last_s = 0.0, float("-inf")
        loaded = self._versions.loaded
        while True:
            await loaded.some_down.wait()
            loaded.some_down.clear()
            in_a_row = time.monotonic() - last_s < ROW_ENDS_AFTER_S
            pause_s = min(LONGEST_PAUSE_S, max(FIRST_PAUSE_S, 2 * pause_s)) if in_a_row else 0.0
            await asyncio.sleep(pause_s)
            try:
                await self._versions.bring_back()
            except Exception as error:  # whatever it is, another attempt is the only way out
                log.error("repair failed: %s", error)
                loaded.some_down.set()
            last_s = time.monotonic()


def longest_silence_s(proof_s: float, standby: bool) -> float:
    """How long a version may be silent before it is probed, by how long a probe takes.

    For a version on standby, which nobody uses while another is in use, the longest: somebody would wait for the probe.
    """
    return LONGEST_SILENCE_S if standby else min(LONGEST_SILENCE_S, max(SHORTEST_SILENCE_S, proof_s / PROBE_SHARE))
