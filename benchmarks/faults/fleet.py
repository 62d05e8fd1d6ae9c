"""Vehicles that send frames all along, and what came back for each."""

import itertools
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass

import grpc
import numpy as np
from roadshift.v1 import segmentation_pb2 as pb
from roadshift.v1 import segmentation_pb2_grpc as pb_grpc

from exchange.label_space import NUM_CLASSES, PALETTE_RGB
from exchange.net.proxies import channel_options

FRAME_HW = (48, 64)
PAUSE_S = 0.25
FRAMES_OF_A_DRIVE = 12
TIMEOUT_S = 20.0
_CHANNEL = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
]


@dataclass(frozen=True)
class Answer:
    sent_at: float
    """Seconds since 1970, as the plan's times are."""
    ended_at: float
    domain: str
    version: int
    prior_id: str
    color_class: int
    """The frame shows this class's colour, everywhere."""
    labels: frozenset[int]


class Fleet:
    """Sends from `start` to `stop`; each vehicle its next frame when the last was answered or refused."""

    def __init__(self, addresses: list[str], domains: list[str]) -> None:
        self.answers: list[Answer] = []
        self.refusals: Counter[str] = Counter()
        """By status."""
        self.without_status: list[str] = []
        self.sent = 0
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._drive, args=(number, addresses[number % len(addresses)], domain), daemon=True)
            for number, domain in enumerate(domains)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _drive(self, number: int, address: str, domain: str) -> None:
        rng = random.Random(number)  # noqa: S311 - no secret
        with grpc.insecure_channel(address, options=[*_CHANNEL, *channel_options(address)]) as channel:
            stub = pb_grpc.SegmentationStub(channel)
            shown = 0
            for frame in itertools.count():
                if self._stopping.wait(PAUSE_S):
                    return
                shown = (shown + rng.randrange(1, NUM_CLASSES)) % NUM_CLASSES  # never twice the same: no duplicates
                request = pb.SegmentRequest(
                    frame=_frame(shown),
                    vehicle_id=f"car-{number}",
                    drive_id=f"{number}-{frame // FRAMES_OF_A_DRIVE}",
                    domain=domain,
                    options=pb.SegmentOptions(label_encoding=pb.LABEL_ENCODING_RAW),
                )
                self._send(stub, request, shown)

    def _send(self, stub: pb_grpc.SegmentationStub, request: pb.SegmentRequest, shown: int) -> None:
        sent_at = time.time()
        with self._lock:
            self.sent += 1
        try:
            answer = stub.Segment(request, timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            with self._lock:
                self.refusals[error.code().name] += 1
            return
        except Exception as error:
            with self._lock:
                self.without_status.append(repr(error))
            return
        labels = frozenset(answer.labels.data)
        told = Answer(sent_at, time.time(), request.domain, answer.model_version, answer.prior_id, shown, labels)
        with self._lock:
            self.answers.append(told)


def _frame(color_class: int) -> pb.Frame:
    rows, columns = FRAME_HW
    image_HW3 = np.broadcast_to(PALETTE_RGB[color_class], (rows, columns, 3))
    return pb.Frame(data=image_HW3.tobytes(), format="rgb8", height=rows, width=columns)
