"""Which gateways are there: those whose heartbeat changes, by this process's own clock."""

import time

from exchange.fleet.gateways import Heartbeat, look_at_heartbeats
from exchange.storage import ObjectInfo, StorageRoot

ALIVE_S = 5.0
"""A gateway beats every second."""


class GatewayWatch:
    """`look` is for one thread; others may read what it saw."""

    def __init__(self, root: StorageRoot) -> None:
        self._root = root
        self._beats: dict[str, Heartbeat] = {}
        self._changed_s: dict[str, float] = {}
        """By gateway: when its heartbeat was last seen to change."""
        self._unreadable: dict[str, tuple[ObjectInfo, float]] = {}
        """By gateway: the object that cannot be read, and when it was last seen to change."""

    def look(self) -> None:
        """Raises StorageError where the root does not answer."""
        now_s = time.monotonic()
        beats: dict[str, Heartbeat] = {}
        unreadable: dict[str, tuple[ObjectInfo, float]] = {}
        for info, beat in look_at_heartbeats(self._root):
            if beat is None:
                name = info.key.rpartition("/")[2].removesuffix(".json")
                known_info, changed_s = self._unreadable.get(name, (info, 0.0))
                unreadable[name] = info, now_s if info != known_info else changed_s
                if name in self._beats:
                    beats[name] = self._beats[name]
                continue
            known = self._beats.get(beat.gateway)
            if known is not None and known.written_at != beat.written_at:
                self._changed_s[beat.gateway] = now_s
            beats[beat.gateway] = beat
        self._changed_s = {gateway: at_s for gateway, at_s in self._changed_s.items() if gateway in beats}
        self._beats, self._unreadable = beats, unreadable

    def all(self) -> list[Heartbeat]:
        """Return the last heartbeat that could be read of every gateway that has one."""
        return list(self._beats.values())

    def alive(self) -> list[Heartbeat]:
        """Of those that were seen to beat in the last seconds."""
        oldest_s = time.monotonic() - ALIVE_S
        return [beat for name, beat in self._beats.items() if self._changed_s.get(name, 0.0) > oldest_s]

    def unreadable(self) -> list[str]:
        """Of those that beat just now, the ones whose heartbeat cannot be read; a file that only lies there is none."""
        oldest_s = time.monotonic() - ALIVE_S
        return [name for name, (_, changed_s) in self._unreadable.items() if changed_s > oldest_s]

    def slowest_p99_s(self) -> float:
        """Of all versions that gateways serve just now; 0 where none answers frames."""
        return max((_recent_p99_s(beat) for beat in self.alive()), default=0.0)


def _recent_p99_s(beat: Heartbeat) -> float:
    """The p99 is over a version's last few hundred frames: it says nothing where none came of late."""
    recent = [
        health.p99_s
        for health in beat.versions.values()
        if health.p99_s is not None
        and health.last_success is not None
        and (beat.written_at - health.last_success).total_seconds() < ALIVE_S
    ]
    return max(recent, default=0.0)
