"""What must hold, said in figures of one run."""

from collections.abc import Iterator, Mapping

import numpy as np

from benchmarks.report import Row
from benchmarks.serving.load import Measurement

SHARE_OF_ENGINE = 0.85
ADDED_CPU_MS = 20.0
ADDED_P50_MS = 30.0
SHARE_OF_CAPACITY = 0.9
REFUSAL_P99_MS = 50.0
MEMORY_MB = 50.0

ENGINE = "bare engine"
TRITON = "Triton, 4 at a time"
VEHICLES = (1, 4, 16)
OVERLOAD = "whole path, overload"
LITSERVE_4 = "LitServe, 4 vehicles"
LITSERVE_OVERLOAD = "LitServe, overload"


def whole_path(vehicles: int) -> str:
    return f"whole path, {vehicles} vehicle{'s' if vehicles > 1 else ''}"


def percentile_ms(seconds: list[float], percentile: float) -> float:
    """NaN of nothing."""
    return 1e3 * float(np.percentile(seconds, percentile)) if seconds else float("nan")


def cpu_ms_per_frame(measurement: Measurement) -> float:
    """Of all serving processes, for each answered frame."""
    return 1e3 * sum(measurement.cpu_s.values()) / len(measurement.latencies_s)


def memory_change_mb(measurement: Measurement) -> float:
    """The largest departure from the first sample."""
    resident = np.array(measurement.resident_bytes, dtype=np.int64)
    return float(np.abs(resident - resident[0]).max()) / 1e6


def capacity(measured: Mapping[str, Measurement]) -> float:
    """Frames/s: the most that the whole path answered without being pressed."""
    return max(measured[whole_path(vehicles)].frames_per_s for vehicles in VEHICLES)


def verdicts(measured: Mapping[str, Measurement]) -> list[Row]:
    judged = (*_costs(measured), *_overload(measured), *_beside_litserve(measured))
    return [{"holds": "yes" if holds else "NO", "must": must, "measured": found} for must, found, holds in judged]


Judgement = tuple[str, str, bool]


def _costs(measured: Mapping[str, Measurement]) -> Iterator[Judgement]:
    engine, one, four = measured[ENGINE], measured[whole_path(1)], measured[whole_path(4)]
    share = four.frames_per_s / engine.frames_per_s
    added_cpu_ms = cpu_ms_per_frame(four) - cpu_ms_per_frame(engine)
    yield (
        f"4 vehicles: >= {SHARE_OF_ENGINE:.0%} of the bare engine's frames/s, or <= {ADDED_CPU_MS:.0f} ms CPU added",
        f"{share:.1%}, {added_cpu_ms:.1f} ms",
        share >= SHARE_OF_ENGINE or added_cpu_ms <= ADDED_CPU_MS,
    )
    added_ms = percentile_ms(one.latencies_s, 50) - percentile_ms(engine.latencies_s, 50)
    yield f"1 vehicle: p50 + <= {ADDED_P50_MS:.0f} ms", f"{added_ms:.1f} ms", added_ms <= ADDED_P50_MS


def _overload(measured: Mapping[str, Measurement]) -> Iterator[Judgement]:
    overload = measured[OVERLOAD]
    share = overload.frames_per_s / capacity(measured)
    yield f"overload: goodput >= {SHARE_OF_CAPACITY:.0%} of capacity", f"{share:.1%}", share >= SHARE_OF_CAPACITY
    refusal_ms = percentile_ms(overload.refusals_s, 99)
    yield f"overload: refusals' p99 <= {REFUSAL_P99_MS:.0f} ms", f"{refusal_ms:.1f} ms", refusal_ms <= REFUSAL_P99_MS
    memory_mb = memory_change_mb(overload)
    yield f"overload: memory within {MEMORY_MB:.0f} MB", f"{memory_mb:.1f} MB", memory_mb <= MEMORY_MB
    whole_path_runs = [overload, *(measured[whole_path(vehicles)] for vehicles in VEHICLES)]
    wrong = sum(run.wrong for run in whole_path_runs)
    lost = sum(run.lost.total() for run in whole_path_runs)
    yield "whole path: no wrong and no lost answer", f"{wrong} wrong, {lost} lost", wrong == lost == 0


def _beside_litserve(measured: Mapping[str, Measurement]) -> Iterator[Judgement]:
    for way, ours, theirs in (
        ("4 vehicles", measured[whole_path(4)], measured[LITSERVE_4]),
        ("overload", measured[OVERLOAD], measured[LITSERVE_OVERLOAD]),
    ):
        our_p99_ms, their_p99_ms = percentile_ms(ours.latencies_s, 99), percentile_ms(theirs.latencies_s, 99)
        yield (
            f"{way}: more frames/s than LitServe",
            f"{ours.frames_per_s:.2f} against {theirs.frames_per_s:.2f}",
            ours.frames_per_s > theirs.frames_per_s,
        )
        yield (
            f"{way}: lower p99 than LitServe",
            f"{our_p99_ms:.0f} against {their_p99_ms:.0f} ms",
            not our_p99_ms >= their_p99_ms,  # LitServe may have answered nothing
        )
