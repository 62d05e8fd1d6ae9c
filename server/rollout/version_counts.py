"""How each version does at this gateway, since its start: for heartbeats, metrics and the watch over candidates."""

import threading
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from exchange.fleet.gateways import VersionHealth
from exchange.label_space import NUM_CLASSES
from server.frames.served_frame import ServedFrame

_LATENCIES = 512
"""So many of the last frames of a version."""


def _latencies() -> deque[float]:
    return deque(maxlen=_LATENCIES)


def _pixels() -> NDArray[np.int64]:
    return np.zeros(NUM_CLASSES, np.int64)


@dataclass
class _Counts:
    requests: int = 0
    errors: int = 0
    last_success_s: float | None = None
    latencies_s: deque[float] = field(default_factory=_latencies)
    engine_s: deque[float] = field(default_factory=_latencies)
    shadow_frames: int = 0
    compared_K: NDArray[np.int64] = field(default_factory=_pixels)
    differing_K: NDArray[np.int64] = field(default_factory=_pixels)


class VersionCounts:
    """`served`, `failed` and `shadowed` are for the event loop, and cost microseconds; other threads may read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[int, _Counts] = {}

    def served(self, frame: ServedFrame) -> None:
        with self._lock:
            counts = self._of(frame.answer.route.version)
            counts.requests += 1
            counts.last_success_s = frame.served_s
            counts.latencies_s.append(frame.answer.stage_seconds.total)
            counts.engine_s.append(frame.answer.stage_seconds.infer)

    def failed(self, version: int) -> None:
        with self._lock:
            counts = self._of(version)
            counts.requests += 1
            counts.errors += 1

    def shadowed(
        self, version: int, engine_s: float, compared_K: NDArray[np.int64], differing_K: NDArray[np.int64]
    ) -> None:
        """A shadow copy: pixels by the class that they were answered with, and those that it labels otherwise."""
        with self._lock:
            counts = self._of(version)
            counts.shadow_frames += 1
            counts.engine_s.append(engine_s)
            counts.compared_K += compared_K
            counts.differing_K += differing_K

    def engine_s(self, version: int, percent: int, at_least: int) -> float | None:
        """Return a percentile of the engine's seconds; None where fewer frames than this are known."""
        with self._lock:
            engine_s = list(self._counts[version].engine_s) if version in self._counts else []
        return _percentile(engine_s, percent) if len(engine_s) >= at_least else None

    def forget(self, versions: Collection[int]) -> None:
        """Of versions that are gone; they begin anew should they come again."""
        with self._lock:
            for version in versions:
                self._counts.pop(version, None)

    def health(self, loaded: Collection[int], troubles: Mapping[int, str]) -> dict[int, VersionHealth]:
        """Of every version that is loaded, has served, or is in trouble."""
        with self._lock:
            return {
                version: _health(self._counts.get(version, _Counts()), version in loaded, troubles.get(version))
                for version in sorted({*loaded, *self._counts, *troubles})
            }

    def _of(self, version: int) -> _Counts:
        return self._counts.setdefault(version, _Counts())


def _health(counts: _Counts, loaded: bool, trouble: str | None) -> VersionHealth:
    last_s = counts.last_success_s
    disagreement_K = counts.differing_K / np.maximum(counts.compared_K, 1)
    compared_K = counts.compared_K / max(counts.compared_K.sum(), 1)
    return VersionHealth(
        loaded=loaded,
        trouble=trouble,
        last_success=None if last_s is None else datetime.fromtimestamp(last_s, UTC),
        requests=counts.requests,
        errors=counts.errors,
        p50_s=_percentile(counts.latencies_s, 50),
        p99_s=_percentile(counts.latencies_s, 99),
        engine_p99_s=_percentile(counts.engine_s, 99),
        shadow_frames=counts.shadow_frames,
        disagreement=tuple(disagreement_K.tolist()) if counts.shadow_frames else None,
        compared=tuple(compared_K.tolist()) if counts.shadow_frames else None,
    )


def _percentile(seconds: Collection[float], percent: int) -> float | None:
    return float(np.percentile(list(seconds), percent)) if seconds else None
