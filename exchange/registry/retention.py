"""What serving left in the root is bounded: the oldest shards and presence parts go, whole."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from exchange.storage import ObjectInfo, StorageRoot
from exchange.storage.locations import AUDIT, FRAMES, PRESENCE, ShardName, before_audit, is_audit_key, presence_hour
from exchange.storage.readable_objects import domain_folders


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
    parts = ((presence_hour(info.key), info) for info in _ours(root, PRESENCE, lambda key: bool(presence_hour(key))))
    return [info for hour, info in parts if hour is not None and hour < oldest]


def audit_beyond(root: StorageRoot, retention: Retention, now: datetime) -> list[ObjectInfo]:
    """The audit's entries that are too old to keep."""
    first_kept = before_audit(now - retention.audit_age)
    return [info for info in _ours(root, AUDIT, is_audit_key) if info.key < first_kept]


def _ours(root: StorageRoot, folder: str, is_ours: Callable[[str], bool]) -> Iterator[ObjectInfo]:
    """What has a name of this folder's; nothing else goes because it is old."""
    for info in root.list_objects(folder):
        if is_ours(info.key):
            yield info
        else:
            root.unreadable.note(info.key, f"nothing below {folder}/ has such a name: move it out of the root")


def _frames_beyond(root: StorageRoot, retention: Retention, now: datetime) -> Iterator[str]:
    for domain in domain_folders(root, FRAMES):
        infos = _ours(root, f"{FRAMES}/{domain}", lambda key: ShardName.parse(key) is not None)
        named = [(ShardName.parse(info.key), info) for info in infos]
        shards = sorted(((name, info) for name, info in named if name), key=lambda shard: shard[0].closed_at)
        frames = size_bytes = 0
        for name, info in reversed(shards):
            frames += name.frames
            size_bytes += info.size_bytes
            too_many = frames > retention.frames or size_bytes > retention.frames_bytes
            if too_many or now - name.closed_at > retention.frames_age:
                yield info.key
