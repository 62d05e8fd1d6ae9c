"""Breaks a running deployment in a hundred ways, and looks at what is left: `python -m benchmarks.faults`.

Each run has a root of its own on a disk or in a bucket of a local S3 server, one or two gateways with the fake in the
engine's place, a learner whose rounds learn nothing, and vehicles that send frames all along. A round goes its way from
captured frames to its end, an order is given, and somewhere a fault strikes that is drawn from the run's seed: kill -9
at a random moment or between two writes, a disk that is full, a storage that is away, slow, or fails, a file that is
cut off. Whatever died is started again, as a service manager does. Then the invariants are checked, each by its name.

`--runs 1 --seed S` is the run with the seed S; run N of `--seed S` has the seed S + N.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults.fault_plans import FaultPlan, RootKind, draw
from benchmarks.faults.invariants import INVARIANTS, violations
from benchmarks.faults.story import tell
from benchmarks.local_s3 import S3Server
from benchmarks.report import RESULTS, Row, print_table, write_report

ROOTS: tuple[RootKind, ...] = ("disk", "s3")


@dataclass(frozen=True)
class Outcome:
    plan: FaultPlan
    struck: str
    """What was done; empty where the run passed without its fault."""
    violations: Mapping[str, list[str]]
    answered: int
    refused: int
    wall_s: float


def run(plan: FaultPlan, folder: Path, server: S3Server | None) -> Outcome:
    """One run in a folder of its own, which it leaves behind."""
    began_s = time.monotonic()
    told = tell(plan, folder, server)
    found = violations(told)
    fleet = told.deployment.fleet
    wall_s = time.monotonic() - began_s
    return Outcome(plan, told.strike.told, found, len(fleet.answers), fleet.refusals.total(), wall_s)


def run_all(plans: Sequence[FaultPlan], work: Path, at_once: int) -> Iterator[Outcome]:
    """In their order; the folders of those that failed stay."""
    work.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        server = None
        if any(plan.root == "s3" for plan in plans):
            server = S3Server()
            stack.callback(server.close)
            os.environ.update(server.environment)  # obstore knows no other way
        pool = stack.enter_context(ThreadPoolExecutor(at_once))
        folders = [Path(tempfile.mkdtemp(prefix=f"{plan.seed}-", dir=work)) for plan in plans]
        running = [pool.submit(run, plan, folder, server) for plan, folder in zip(plans, folders, strict=True)]
        for ended, folder in zip(running, folders, strict=True):
            outcome = ended.result()
            _tell(outcome)
            if not outcome.violations:
                shutil.rmtree(folder)
            yield outcome


def rows(outcomes: Sequence[Outcome]) -> list[Row]:
    """By fault: runs, in how many it struck, and in how many each invariant did not hold."""
    faults = sorted({outcome.plan.fault.partition(":")[0] for outcome in outcomes})
    groups = [(fault, [o for o in outcomes if o.plan.kind == fault]) for fault in faults] + [("all", list(outcomes))]
    return [
        {
            "fault": name,
            "runs": len(group),
            "struck": sum(bool(outcome.struck) for outcome in group),
            **{invariant: sum(invariant in outcome.violations for outcome in group) for invariant in INVARIANTS},
            "frames answered": sum(outcome.answered for outcome in group),
            "refused": sum(outcome.refused for outcome in group),
        }
        for name, group in groups
    ]


def command(plan: FaultPlan, options: argparse.Namespace) -> str:
    roots, triton = " ".join(options.root), f" --triton {options.triton}" if options.triton else ""
    return f"python -m benchmarks.faults --runs 1 --seed {plan.seed} --root {roots}{triton}"


def main() -> None:
    options = _parser().parse_args()
    roots: tuple[RootKind, ...] = tuple(options.root)
    seeds = range(options.seed, options.seed + options.runs)
    plans = [draw(seed, roots, options.triton) for seed in seeds]
    outcomes = list(run_all(plans, options.work, options.at_once))
    print_table("runs in which an invariant did not hold, by fault", rows(outcomes))
    failed = [outcome for outcome in outcomes if outcome.violations]
    for outcome in failed:
        print(f"{outcome.plan.fault}: {command(outcome.plan, options)}")
    never = sorted(Counter(outcome.plan.fault for outcome in outcomes if not outcome.struck))
    settings = {
        "seeds": [options.seed, options.seed + options.runs - 1],
        "roots": list(roots),
        "with Triton": sum(outcome.plan.engine == "triton" for outcome in outcomes),
        "median_s": sorted(outcome.wall_s for outcome in outcomes)[len(outcomes) // 2],
        "failures": [_failure(outcome, options) for outcome in failed],
        "did_not_strike": never,
    }
    print(f"written to {write_report('faults', rows(outcomes), settings, options.results)}")
    raise SystemExit(1 if failed else 0)


def _failure(outcome: Outcome, options: argparse.Namespace) -> dict[str, object]:
    return {
        "seed": outcome.plan.seed,
        "fault": outcome.plan.fault,
        "root": outcome.plan.root,
        "struck": outcome.struck,
        "violations": dict(outcome.violations),
        "reproduce": command(outcome.plan, options),
    }


def _tell(outcome: Outcome) -> None:
    plan = outcome.plan
    verdict = "holds" if not outcome.violations else f"FAILS: {dict(outcome.violations)}"
    struck = outcome.struck or "did not strike"
    order = f"{plan.order} --direct" if plan.direct else plan.order
    where = f"{plan.root}, {plan.engine}, at {plan.at}, {plan.round} round, {order}"
    print(f"{plan.seed:5} {plan.fault} ({where}): {struck}; {outcome.wall_s:.0f} s: {verdict}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--root", nargs="+", choices=ROOTS, default=list(ROOTS))
    parser.add_argument("--triton", type=float, default=0.0, help="share of the runs with a real Triton")
    parser.add_argument("--at-once", type=int, default=2, help="runs side by side; most of a run is waiting")
    parser.add_argument("--work", type=Path, default=Path("runs/faults"), help="keeps the folders of runs that failed")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser


if __name__ == "__main__":
    main()
