"""What must hold, said in figures of one run."""

from collections.abc import Callable, Iterator, Mapping
from statistics import median

from benchmarks.report import Row
from benchmarks.serving.load import Measurement, percentile_ms
from benchmarks.serving.rounds import Rounds

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
LITSERVES = {1: "LitServe (1 worker, all cores)", 2: "LitServe (2 workers, half of them each)"}
"""By the number of workers. One is its default."""


def litserve_4(workers: int) -> str:
    return f"{LITSERVES[workers]}, 4 vehicles"


def litserve_overload(workers: int) -> str:
    return f"{LITSERVES[workers]}, overload"


def whole_path(vehicles: int) -> str:
    return f"whole path, {vehicles} vehicle{'s' if vehicles > 1 else ''}"


def capacity(measured: Mapping[str, Rounds]) -> float:
    """Frames/s: the most that the whole path answered without being pressed."""
    return max(measured[whole_path(vehicles)].frames_per_s for vehicles in VEHICLES)


def verdicts(measured: Mapping[str, Rounds]) -> list[Row]:
    judged = (*_costs(measured), *_overload(measured), *_beside_litserve(measured))
    return [{"holds": "yes" if holds else "NO", "must": must, "measured": found} for must, found, holds in judged]


Judgement = tuple[str, str, bool]


def _of_pairs(ours: Rounds, theirs: Rounds, figure: Callable[[Measurement, Measurement], float]) -> float:
    """The median of a figure of two ways measured soon after one another, within one round each."""
    return median(figure(our, their) for our, their in zip(ours.each, theirs.each, strict=True))


def _rate_ratio(ours: Measurement, theirs: Measurement) -> float:
    return ours.frames_per_s / theirs.frames_per_s


def _p50_difference_ms(ours: Measurement, theirs: Measurement) -> float:
    return ours.percentile_ms(50) - theirs.percentile_ms(50)


def _costs(measured: Mapping[str, Rounds]) -> Iterator[Judgement]:
    engine, one, four = measured[ENGINE], measured[whole_path(1)], measured[whole_path(4)]
    share = _of_pairs(four, engine, _rate_ratio)
    added_cpu_ms = four.cpu_ms_per_frame - engine.cpu_ms_per_frame
    yield (
        f"4 vehicles: >= {SHARE_OF_ENGINE:.0%} of the bare engine's frames/s, or <= {ADDED_CPU_MS:.0f} ms CPU added",
        f"{share:.1%}, {added_cpu_ms:.1f} ms",
        share >= SHARE_OF_ENGINE or added_cpu_ms <= ADDED_CPU_MS,
    )
    added_ms = _of_pairs(one, engine, _p50_difference_ms)
    yield f"1 vehicle: p50 + <= {ADDED_P50_MS:.0f} ms", f"{added_ms:.1f} ms", added_ms <= ADDED_P50_MS


def _overload(measured: Mapping[str, Rounds]) -> Iterator[Judgement]:
    overload = measured[OVERLOAD]
    share = overload.frames_per_s / capacity(measured)
    yield f"overload: goodput >= {SHARE_OF_CAPACITY:.0%} of capacity", f"{share:.1%}", share >= SHARE_OF_CAPACITY
    refusal_ms = percentile_ms(overload.together.refusals_s, 99)
    yield f"overload: refusals' p99 <= {REFUSAL_P99_MS:.0f} ms", f"{refusal_ms:.1f} ms", refusal_ms <= REFUSAL_P99_MS
    memory_mb = overload.memory_change_mb
    yield f"overload: memory within {MEMORY_MB:.0f} MB", f"{memory_mb:.1f} MB", memory_mb <= MEMORY_MB
    whole_path_runs = [run.together for run in (overload, *(measured[whole_path(vehicles)] for vehicles in VEHICLES))]
    wrong = sum(run.wrong for run in whole_path_runs)
    lost = sum(run.lost.total() for run in whole_path_runs)
    yield "whole path: no wrong and no lost answer", f"{wrong} wrong, {lost} lost", wrong == lost == 0


def _beside_litserve(measured: Mapping[str, Rounds]) -> Iterator[Judgement]:
    compared = [
        (way, ours, theirs(workers))
        for workers in LITSERVES
        for way, ours, theirs in (("4 vehicles", whole_path(4), litserve_4), ("overload", OVERLOAD, litserve_overload))
    ]
    for way, our_way, their_way in compared:
        ours, theirs = measured[our_way], measured[their_way]
        name = their_way.rpartition(",")[0]
        our_p99_ms, their_p99_ms = (rounds.together.percentile_ms(99) for rounds in (ours, theirs))
        ratio = _of_pairs(ours, theirs, _rate_ratio)
        yield (
            f"{way}: more frames/s than {name}",
            f"{ratio:.1%}: {ours.frames_per_s:.2f} against {theirs.frames_per_s:.2f}",
            ratio > 1,
        )
        yield (
            f"{way}: lower p99 than {name}",
            f"{our_p99_ms:.0f} against {their_p99_ms:.0f} ms",
            not our_p99_ms >= their_p99_ms,  # LitServe may have answered nothing
        )
