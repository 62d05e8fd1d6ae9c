"""The Python client: frames in, numpy labels out; blocking and asyncio."""

from clients.client.aio import AsyncRoadshiftClient
from clients.client.blocking import RoadshiftClient
from clients.client.connection import Connection, RequestFailed, RetryBudget
from clients.client.frames import FrameSettings, FrameToSend
from clients.client.results import SegmentResult, StreamOutcome

__all__ = [
    "AsyncRoadshiftClient",
    "Connection",
    "FrameSettings",
    "FrameToSend",
    "RequestFailed",
    "RetryBudget",
    "RoadshiftClient",
    "SegmentResult",
    "StreamOutcome",
]
