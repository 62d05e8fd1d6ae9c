"""Vehicles that drive all through the story: where, and how fast, is told them as it goes on."""

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

from clients.client import AsyncRoadshiftClient, Connection, FrameSettings, RequestFailed
from clients.demo.journal import Answer, Journal
from clients.simulation.fleet import confusion
from clients.simulation.rendered_frames import RenderedFrame
from exchange.plan.serving_plan import NO_PRIOR_ID

VEHICLES = 4
_TIMEOUT_S = 60.0
_LOOK_EVERY_S = 0.05
Streets = Sequence[Sequence[RenderedFrame]]


class _Order(NamedTuple):
    domain: str
    frames_per_s: float
    """Of all vehicles together."""


class FleetAtWork:
    """A thread of vehicles between `with` and its end. Each sends its next frame when that is due and the last one was
    answered, so that a slow machine makes the fleet slow and not its frames refused.
    """

    def __init__(self, connection: Connection, streets: Mapping[str, Streets], journal: Journal) -> None:
        self._connection = connection
        self._streets = streets
        self._journal = journal
        self._order: _Order | None = None
        self._stopping = False
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="fleet")

    def drive(self, domain: str, frames_per_s: float) -> None:
        """From now on."""
        self._order = _Order(domain, frames_per_s)

    def distinct_frames(self, domain: str) -> int:
        return sum(map(len, self._streets[domain]))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        self._thread.join()
        if self._failed is not None:
            raise self._failed

    def _run(self) -> None:
        try:
            asyncio.run(self._drive_all())
        except BaseException as error:
            self._failed = error

    async def _drive_all(self) -> None:
        async with asyncio.TaskGroup() as vehicles:
            for number in range(VEHICLES):
                vehicles.create_task(self._drive_one(number))

    async def _drive_one(self, number: int) -> None:
        """Its streets one after the other, again and again; each time a drive of its own."""
        async with AsyncRoadshiftClient(self._connection, timeout_s=_TIMEOUT_S) as client:
            lap = 0
            while not self._stopping:
                if (order := self._order) is None:
                    await asyncio.sleep(_LOOK_EVERY_S)
                    continue
                for street in range(number, len(self._streets[order.domain]), VEHICLES):
                    drive = f"{order.domain}-{street}-{lap}"
                    settings = FrameSettings(f"vehicle-{number}", drive, order.domain)
                    await self._drive_street(client, settings, street)
                lap += 1

    async def _drive_street(self, client: AsyncRoadshiftClient, settings: FrameSettings, street: int) -> None:
        for moment, frame in enumerate(self._streets[settings.domain][street]):
            order, sent_s = self._order, time.monotonic()
            if self._stopping or order is None or order.domain != settings.domain:
                return
            await self._send(client, settings, frame, (settings.domain, street, moment))
            while time.monotonic() < sent_s + VEHICLES / (self._order or order).frames_per_s and not self._stopping:
                await asyncio.sleep(_LOOK_EVERY_S)

    async def _send(
        self, client: AsyncRoadshiftClient, settings: FrameSettings, frame: RenderedFrame, name: tuple[str, int, int]
    ) -> None:
        sent_s = time.monotonic()
        try:
            result = await client.segment(frame.jpeg, settings)
        except RequestFailed as error:
            self._journal.failures[error.status.name] += 1
            return
        latency_s = time.monotonic() - sent_s
        counted_KK = confusion(frame.labels_HW, result.labels_HW)
        has_prior = result.prior_id != NO_PRIOR_ID
        answer = Answer(self._journal.now_s, name, result.model_version, has_prior, latency_s, counted_KK)
        self._journal.add(answer)
