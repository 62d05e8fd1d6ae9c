"""Every way of serving one release on this machine, in one table: `python -m benchmarks.serving`.

The bare engine in a loop, Triton alone through shared memory, the whole path (JPEG in, palette PNG out) as `roadshift
serve` offers it, and LitServe around the same engine: by its default, which computes one frame at a time on all cores,
and with two workers that have half of them each. They take turns in short rounds, every other one in reverse, so that
a machine that grows slower favours nobody; who is not measured is paused (SIGSTOP). Frames/s and p50 are medians over
the rounds, and what is compared is compared within a round. Memory is resident, all processes that serve added up.
Vehicles send their next frame when the last was answered, but for the overload: there 16 vehicles together send four
times what the whole path answered before at its best. All labels are compared with those of the bare engine. CPU is
per answered frame; "gateway" is what is neither Triton nor engine, and "load" the vehicles, where they have a process
of their own.
"""

import argparse
import math
import os
import signal
import sys
from pathlib import Path

from benchmarks.report import RESULTS, Row, print_table, write_report
from benchmarks.serving.load import Measurement, percentile_ms
from benchmarks.serving.rounds import Rounds
from benchmarks.serving.runs import OVERLOAD_FACTOR, OVERLOAD_VEHICLES, Run, serve_every_way
from benchmarks.serving.servers import ServerError
from benchmarks.serving.verdicts import verdicts
from exchange.registry.releases import ReleaseError, read_manifest
from server.settings import STARTER_RELEASE


def row(way: str, rounds: Rounds) -> Row:
    measured = rounds.together
    answered = len(measured.latencies_s)

    def per_frame(total: float) -> float:
        return total / answered if answered else math.nan

    figures = {
        "frames/s": rounds.frames_per_s,
        "p50 ms": rounds.p50_ms,
        "p99 ms": measured.percentile_ms(99),
        **{f"{role} CPU ms": per_frame(1e3 * cpu_s) for role, cpu_s in measured.cpu_s.items()},
        "load CPU ms": per_frame(1e3 * measured.load_cpu_s),
        "kB in": per_frame(measured.bytes_in / 1e3),
        "kB out": per_frame(measured.bytes_out / 1e3),
        "answered": answered,
        "refused": len(measured.refusals_s),
        "lost": measured.lost.total(),
        "wrong": measured.wrong,
        "refusal p99 ms": percentile_ms(measured.refusals_s, 99),
        "memory MB": rounds.memory_mb,
        "memory +- MB": rounds.memory_change_mb,
    }
    return {"way": way, **{name: "-" if math.isnan(figure) else figure for name, figure in figures.items()}}


def _tell(way: str, measured: Measurement) -> None:
    print(f"{way}: {measured.frames_per_s:.2f} frames/s, p50 {measured.percentile_ms(50):.0f} ms", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--release", type=Path, default=STARTER_RELEASE, help="the starter that ships if absent")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each way in each round")
    parser.add_argument("--overload-seconds", type=float, default=60.0)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the dated file")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # and so end the servers, paused ones too
    load_before = os.getloadavg()[0]
    run = Run(arguments.release, arguments.rounds, arguments.seconds, arguments.overload_seconds)
    try:
        rows_hw = read_manifest(run.release).frame_size
        measured = serve_every_way(run, _tell)
    except (ReleaseError, ServerError) as error:
        raise SystemExit(f"error: {error}") from error
    rows = [row(way, measurement) for way, measurement in measured.items()]
    must = verdicts(measured)
    print_table(f"Serving {rows_hw[0]}x{rows_hw[1]} frames", rows)
    print_table("What must hold", must)
    for way, measurement in measured.items():
        for reason, count in measurement.together.lost.items():
            print(f"lost, {way}: {count} x {reason}")
    settings = {
        "release": run.release.name,
        "frame_size_hw": rows_hw,
        "rounds": run.rounds,
        "seconds": run.seconds,
        "overload_seconds": run.overload_seconds,
        "overload_factor": OVERLOAD_FACTOR,
        "overload_vehicles": OVERLOAD_VEHICLES,
        "load_average_before": load_before,
    }
    print(write_report("serving", [*rows, *must], settings, arguments.results))


if __name__ == "__main__":
    main()
