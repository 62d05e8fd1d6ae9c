"""What serving left in the root is bounded: the oldest shards and presence parts go, whole."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from exchange.locations import AUDIT, FRAMES, PRESENCE, ShardName, before_audit, presence_hour
from exchange.storage import ObjectInfo, StorageRoot


@dataclass(frozen=True)
class Retention:
    """Of each domain, over all gateways."""

    frames: int = 4096
    frames_bytes: int = 4 << 30
    frames_age: timedelta = timedelta(days=14)
    presence_age: timedelta = timedelta(days=7)
    audit_age: timedelta = timedelta(days=400)
    """Of all domains together: more than a year, so that a year can be looked back on."""


def trim_frames(root: StorageRoot, retention: Retention, now: datetime) -> None:
    """Deletes shards beyond the bounds; any number of gateways may do it at once.

    Raises:
        StorageError: not everything could be listed or deleted.
    """
    for key in list(_frames_beyond(root, retention, now)):
        root.delete(key)


def trim_presence(root: StorageRoot, retention: Retention, now: datetime) -> None:
    """The same for presence parts, by age alone. Lists all of them: once an hour is often enough."""
    for info in presence_beyond(root, retention, now):
        root.delete(info.key)


def presence_beyond(root: StorageRoot, retention: Retention, now: datetime) -> list[ObjectInfo]:
    """The presence parts that are too old to keep."""
    oldest = now - retention.presence_age - timedelta(hours=1)
    return [info for info in root.list_objects(PRESENCE) if presence_hour(info.key) < oldest]


def audit_beyond(root: StorageRoot, retention: Retention, now: datetime) -> list[ObjectInfo]:
    """The audit's entries that are too old to keep."""
    first_kept = before_audit(now - retention.audit_age)
    return [info for info in root.list_objects(AUDIT) if info.key < first_kept]


def _frames_beyond(root: StorageRoot, retention: Retention, now: datetime) -> Iterator[str]:
    for domain in root.list_folders(FRAMES):
        named = [(ShardName.parse(info.key), info) for info in root.list_objects(f"{FRAMES}/{domain}")]
        shards = sorted(((name, info) for name, info in named if name), key=lambda shard: shard[0].closed_at)
        frames = size_bytes = 0
        for name, info in reversed(shards):
            frames += name.frames
            size_bytes += info.size_bytes
            too_many = frames > retention.frames or size_bytes > retention.frames_bytes
            if too_many or now - name.closed_at > retention.frames_age:
                yield info.key
