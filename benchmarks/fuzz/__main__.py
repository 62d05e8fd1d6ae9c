"""Sends a gateway and a learner what no caller should: `python -m benchmarks.fuzz`.

Noise, damaged messages and valid ones with absurd values go to every call of every service, drawn from the seed. A
message that is not understood is the caller's mistake: none may end with INTERNAL or UNKNOWN, leave a traceback in the
log, or end the process, and afterwards a good call must be answered.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.fuzz.calls import DEFECTS, Outcome, fuzz
from benchmarks.fuzz.servers import Server, running_servers
from benchmarks.report import RESULTS, Row, print_table, write_report


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    options.work.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{options.seed}-", dir=options.work))
    rows: list[Row] = []
    failures: list[str] = []
    with running_servers(folder) as servers:
        of_all = sum(len(server.methods) for server in servers)
        for server in servers:
            messages = round(options.messages * len(server.methods) / of_all)
            outcomes = fuzz(server.channel, server.methods, messages, options.seed)
            rows += rows_of(outcomes)
            failures += failures_of(server, outcomes)
    print_table("Calls with fuzzed messages", rows)
    for failure in failures:
        print(failure)
    settings = {"messages": options.messages, "seed": options.seed, "failures": failures}
    print(f"written to {write_report('fuzz', rows, settings, options.results)}")
    raise SystemExit(1 if failures else 0)


def rows_of(outcomes: Sequence[Outcome]) -> list[Row]:
    """Calls of each service by how they ended."""
    return [
        {
            "service": outcome.service,
            "calls": outcome.statuses.total(),
            "taken": outcome.statuses["OK"] + outcome.statuses["watched"],
            "INVALID_ARGUMENT": outcome.statuses["INVALID_ARGUMENT"],
            "refused otherwise": sum(
                count
                for status, count in outcome.statuses.items()
                if status not in ("OK", "watched", "INVALID_ARGUMENT", *DEFECTS)
            ),
            "INTERNAL or UNKNOWN": sum(outcome.statuses[status] for status in DEFECTS),
        }
        for outcome in outcomes
    ]


def failures_of(server: Server, outcomes: Sequence[Outcome]) -> list[str]:
    """What must not be, in words."""
    failures = [defect for outcome in outcomes for defect in outcome.defects]
    if not server.is_alive:
        failures.append(f"the {server.name} has ended")
    elif not server.answers():
        failures.append(f"the {server.name} does not answer a good call any more")
    if count := server.tracebacks():
        failures.append(f"the {server.name} logged {count} tracebacks: see {server.log}")
    return failures


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("runs/fuzz"), help="keeps the logs")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser


if __name__ == "__main__":
    main()
