"""Which gateways are there: those whose heartbeat changes, by this process's own clock."""

import time

from exchange.fleet.gateways import Heartbeat, look_at_heartbeats
from exchange.storage import ObjectInfo, StorageRoot

ALIVE_S = 5.0
"""A gateway beats every second."""


class GatewayWatch:
    """For one thread."""

    def __init__(self, root: StorageRoot) -> None:
        self._root = root
        self._beats: dict[str, Heartbeat] = {}
        self._changed_s: dict[str, float] = {}
        self._unreadable: dict[str, tuple[ObjectInfo, float]] = {}
        """By gateway: its heartbeat, and when it was last seen to change."""

    def look(self) -> None:
        """Raises StorageError where the root does not answer."""
        now_s = time.monotonic()
        unreadable: dict[str, tuple[ObjectInfo, float]] = {}
        for info, beat in look_at_heartbeats(self._root):
            if beat is None:
                name = info.key.rpartition("/")[2].removesuffix(".json")
                known_info, changed_s = self._unreadable.get(name, (info, 0.0))
                unreadable[name] = info, now_s if info != known_info else changed_s
                continue
            known = self._beats.get(beat.gateway)
            if known is not None and known.written_at != beat.written_at:
                self._changed_s[beat.gateway] = now_s
            self._beats[beat.gateway] = beat
        self._unreadable = unreadable

    def all(self) -> list[Heartbeat]:
        """The last heartbeat of every gateway that there ever was."""
        return list(self._beats.values())

    def alive(self) -> list[Heartbeat]:
        """Of those that were seen to beat in the last seconds."""
        oldest_s = time.monotonic() - ALIVE_S
        return [beat for name, beat in list(self._beats.items()) if self._changed_s.get(name, 0.0) > oldest_s]

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
