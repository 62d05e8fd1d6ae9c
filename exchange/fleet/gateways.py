"""Each gateway's heartbeat: what it has loaded, which plan it serves, and how its versions do."""

from typing import Literal

from pydantic import Field

from exchange.storage import ObjectInfo, StorageRoot
from exchange.storage.locations import GATEWAYS, GatewayName, heartbeat_key
from exchange.storage.readable_objects import at_its_key, read_readable
from exchange.storage.records import Moment, PerClass, Record


class VersionHealth(Record):
    """One version at one gateway, since the gateway started."""

    loaded: bool
    trouble: str | None = None
    """Why it cannot be loaded here, or why this gateway gives it, the candidate, no frames any more."""
    last_success: Moment | None
    requests: int = Field(ge=0)
    errors: int = Field(ge=0)
    """Requests that the engine failed or was not there for; a refused frame is none. Those of a candidate were
    answered by the version that serves."""
    p50_s: float | None
    """Of the last answered frames, from arrival to answer; None before the first."""
    p99_s: float | None
    engine_p99_s: float | None = None
    """Of the engine's part alone, shadow copies included: what can be compared between versions."""
    shadow_frames: int = Field(default=0, ge=0)
    """That it labelled as a shadow, after the version that serves had answered them."""
    disagreement: PerClass | None = None
    """By the class that the version that serves gave: share of those pixels that this one, as a shadow, labelled
    otherwise; 0 for a class that was not seen. None before the first shadow frame."""
    compared: PerClass | None = None
    """The classes' shares of the pixels that were compared."""


class Heartbeat(Record):
    """Written every second; an old one says that the gateway is gone or cannot reach the root."""

    format: Literal[1] = 1
    gateway: GatewayName
    started_at: Moment
    written_at: Moment
    plan_revision: int = Field(ge=0)
    """Applied whole; 0 for the release that it was started with."""
    versions: dict[int, VersionHealth]
    free_bytes: int
    """On the disk of its spool."""
    presence_dropped: int = Field(ge=0)
    """Served frames without a row, since the start."""
    capture_dropped: int = Field(ge=0)
    """Served frames that nobody looked at for capture, since the start."""
    shadow_dropped: int = Field(default=0, ge=0)
    """Shadow copies that were not made because frames were waiting, since the start."""
    erasures_applied: int = Field(ge=0)
    """How many of the root's erasures it has heard of."""
    engine_busy_share: float = Field(default=0.0, ge=0, le=1)
    """Of the time since the heartbeat before: some frame was being inferred."""


def write_heartbeat(root: StorageRoot, heartbeat: Heartbeat) -> None:
    root.write(heartbeat_key(heartbeat.gateway), heartbeat.encode())


def read_heartbeats(root: StorageRoot) -> list[Heartbeat]:
    """The last one of every gateway there ever was, by name; those left out that cannot be read.

    Raises:
        StorageError: the root does not answer.
    """
    return [beat for _, beat in look_at_heartbeats(root) if beat is not None]


def look_at_heartbeats(root: StorageRoot) -> list[tuple[ObjectInfo, Heartbeat | None]]:
    """The same, with None for those that cannot be read. Raises as `read_heartbeats`."""
    decode = at_its_key(Heartbeat, lambda beat: heartbeat_key(beat.gateway))
    return [(info, read_readable(root, info.key, decode)) for info in root.list_objects(GATEWAYS)]
