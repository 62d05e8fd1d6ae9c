"""Vehicles that send frames all the time, each by the client, and go to the other gateway where one does not answer."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from itertools import count
from typing import NamedTuple

import grpc
import numpy as np

from clients.client import Connection, FrameSettings, FrameToSend, RequestFailed, RetryBudget, RoadshiftClient
from clients.client.results import SegmentResult
from exchange.label_space import NUM_CLASSES, PALETTE_RGB
from tests.service.learner_rig import until

_FRAME_EVERY_S = 0.1
_FRAMES_OF_A_DRIVE = 20


class Answer(NamedTuple):
    captured_us: int
    """Microseconds of Unix time, which the gateway's presence rows repeat."""
    gateway: str
    version: int


class Fleet:
    """What was sent, answered and refused. Its threads only append."""

    def __init__(self, ports: dict[str, int], domain: str) -> None:
        """`ports`: each gateway's, which may change on the way, as behind a name."""
        self.ports = ports
        self.domain = domain
        self.sent_us: list[int] = []
        self.answers: list[Answer] = []
        self.refusals: list[tuple[str, grpc.StatusCode]] = []
        """By which gateway, and how; each frame was sent to the next one then."""

    def answered_by(self, gateway: str) -> int:
        return sum(answer.gateway == gateway for answer in self.answers)

    def refused_by(self, gateway: str) -> int:
        return sum(name == gateway for name, _ in self.refusals)

    @contextmanager
    def driving(self, vehicles: int) -> Iterator[None]:
        """At the end each vehicle's last frame is answered."""
        stop = threading.Event()
        with ThreadPoolExecutor(vehicles) as pool:
            driven = [pool.submit(self._drive, f"car-{number}", stop) for number in range(vehicles)]
            try:
                yield
            finally:
                stop.set()
            for each in driven:
                each.result()

    def _drive(self, vehicle: str, stop: threading.Event) -> None:
        clients: dict[int, RoadshiftClient] = {}
        with ExitStack() as closing:

            def client_of(gateway: str) -> RoadshiftClient:
                port = self.ports[gateway]
                if port not in clients:  # each refusal is told at once, for the vehicle goes to the other gateway
                    client = RoadshiftClient(Connection(f"127.0.0.1:{port}"), budget=RetryBudget(0), timeout_s=30.0)
                    clients[port] = closing.enter_context(client)
                return clients[port]

            for number in count():
                names = sorted(self.ports)
                turns = (names[(number + attempt) % len(names)] for attempt in count())
                image_HW3 = np.tile(PALETTE_RGB[number % NUM_CLASSES], (64, 96, 1))
                settings = FrameSettings(vehicle, f"{vehicle} {number // _FRAMES_OF_A_DRIVE}", self.domain)
                frame = FrameToSend(image_HW3, captured_at=datetime.now(UTC))
                captured_us = round(frame.captured_at.timestamp() * 1e6)
                self.sent_us.append(captured_us)

                def answered(
                    frame: FrameToSend = frame, settings: FrameSettings = settings, turns: Iterator[str] = turns
                ) -> tuple[str, SegmentResult] | None:
                    gateway = next(turns)
                    try:
                        return gateway, client_of(gateway).segment(frame, settings)
                    except RequestFailed as refusal:
                        self.refusals.append((gateway, refusal.status))
                        return None

                gateway, result = until(answered, f"an answer to frame {number} of {vehicle}")
                self.answers.append(Answer(captured_us, gateway, result.model_version))
                if stop.wait(_FRAME_EVERY_S):
                    return

    def statuses(self) -> Counter[grpc.StatusCode]:
        return Counter(status for _, status in self.refusals)
