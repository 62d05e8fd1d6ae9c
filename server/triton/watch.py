"""Probes every version that has been silent, and has those brought back that do not work, with growing pauses."""

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import Any

from server.triton.versions import HANG_LIMIT_S, TritonVersions

PROBE_AFTER_S = 1.0
STANDBY_PROBE_AFTER_S = 10.0
"""For a version that nobody uses while another is in use: a probe takes as long as a frame, which somebody waits for.
The death of its process is noticed at once all the same."""
TICK_S = 0.2
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 5.0
"""Between one repair and the next of a row; the first of a row starts at once."""
ROW_ENDS_AFTER_S = 60.0

log = logging.getLogger(__name__)


class Watch:
    """Two tasks from `start` to `close`; neither ends by itself."""

    def __init__(self, versions: TritonVersions) -> None:
        self._versions = versions
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
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

    async def _probe_the_silent(self) -> None:
        while True:
            up = self._versions.loaded.up()
            some_in_use = any(version.is_in_use() for version in up)
            for version in up:
                patience_s = STANDBY_PROBE_AFTER_S if some_in_use and not version.is_in_use() else PROBE_AFTER_S
                if not version.in_flight and version.silent_s() >= patience_s:
                    self._run(self._versions.probe(version))
                elif version.in_flight and version.silent_s() >= HANG_LIMIT_S:
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
