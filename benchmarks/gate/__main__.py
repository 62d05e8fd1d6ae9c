"""How often the promotion gate is right: `python -m benchmarks.gate`.

One incumbent, used to simulated daylight, and candidates for dusk that start from it: good ones (trained on dusk's
labels, in every light, carefully self-trained), harmless ones, and bad ones (naive mean teachers, wrong labels, noise,
collapsed heads, a forgotten source). Every candidate is built into a release and goes through the gate, which sees no
label of dusk; beside its estimate and its verdict stands the truth.

Some 12 minutes on one free core, estimated from its parts: 2 to render, 4 to train, 6 to export and measure. What is
finished is kept below --work, so that a run that was cut off goes on.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress

from adaptation.learning.data.class_statistics import count_classes
from adaptation.learning.data.labelled_frames import read_labels
from adaptation.learning.export.release import SourceStatistics
from benchmarks.gate.candidates import PLANS, make_candidates, make_incumbent
from benchmarks.gate.city import City, render_city
from benchmarks.gate.outcomes import Outcome, build_release, measure_candidate, write_truth
from benchmarks.kept_settings import keep_settings
from benchmarks.report import RESULTS, Row, print_table, write_report
from exchange.jobs.limits import GateLimits
from server.settings import STARTER_RELEASE

_DECIDING = ("release", "rows", "frames", "held_out", "incumbent_iterations", "seed")


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    options.work.mkdir(parents=True, exist_ok=True)
    keep_settings(options, _DECIDING)
    with Progress() as progress:
        outcomes = _outcomes(options, progress)
    _report(options, outcomes)


def _outcomes(options: argparse.Namespace, progress: Progress) -> list[Outcome]:
    work = options.work
    rendering = progress.add_task("rendering", total=None)
    city = render_city(
        work / "city",
        (options.rows, 2 * options.rows),
        options.frames,
        lambda done, total: progress.update(rendering, completed=done, total=total),
        held_out=options.held_out,
    )
    truth, statistics = write_truth(city, work / "truth"), _statistics(city)
    task = progress.add_task("candidates", total=sum(len(PLANS[name].snapshots) for name in options.plans))
    network = make_incumbent(city, options.release, work / "incumbent", options.incumbent_iterations, options.seed)
    incumbent = build_release(network, work / "releases" / "incumbent", city, statistics)
    outcomes = []
    for name in options.plans:
        for folder in make_candidates(city, network, name, work / "candidates", options.seed):
            release = build_release(folder, work / "releases" / folder.name, city, statistics)
            kept = folder / "measured.json"
            measured = measure_candidate(release, incumbent, city, truth, kept, lambda what, done, total: None)
            outcomes.append(Outcome(folder.name, PLANS[name].what, measured))
            progress.advance(task)
    return outcomes


def _statistics(city: City) -> SourceStatistics:
    return SourceStatistics.of_labels(np.stack([count_classes(read_labels(frame)) for frame in city.source.frames()]))


def summarize(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Error and correlation of each estimate of the accuracy, and of its change against the incumbent."""
    measured = [outcome for outcome in outcomes if outcome.measured.target is not None]
    targets = [outcome.measured.target for outcome in measured if outcome.measured.target is not None]
    true_N = np.array([outcome.true_accuracy[1] for outcome in measured])
    estimates = {
        "estimate": [target.estimated_accuracy[1] for target in targets],
        "own ATC": [target.candidate_atc for target in targets],
        "judge's belief": [target.candidate_believed for target in targets],
    }
    figures = {}
    for name, values in estimates.items():
        error_N = np.array(values) - true_N
        figures[f"{name}: correlation"] = float(np.corrcoef(values, true_N)[0, 1])
        figures[f"{name}: rank correlation"] = float(np.corrcoef(_ranks(values), _ranks(true_N.tolist()))[0, 1])
        figures[f"{name}: mean error, points"] = 100 * float(error_N.mean())
        figures[f"{name}: mean absolute error, points"] = 100 * float(np.abs(error_N).mean())
        figures[f"{name}: largest error, points"] = 100 * float(np.abs(error_N).max())
    return figures


def confusion_table(outcomes: Sequence[Outcome]) -> list[Row]:
    counts = Counter((outcome.truth, outcome.verdict.passed) for outcome in outcomes)
    return [
        {"truly": truth, "accepted": counts[truth, True], "refused": counts[truth, False]}
        for truth in ("better", "equal", "worse")
    ]


def _ranks(values: Sequence[float]) -> list[int]:
    return np.argsort(np.argsort(values, kind="stable"), kind="stable").tolist()


def _report(options: argparse.Namespace, outcomes: list[Outcome]) -> None:
    rows = [outcome.row() for outcome in outcomes]
    print_table("Candidates for dusk", rows)
    figures = summarize(outcomes)
    print_table("Estimated accuracy against the true one", [{"figure": k, "value": v} for k, v in figures.items()])
    table = confusion_table(outcomes)
    print_table("The gate against the truth", table)
    settings = {
        **keep_settings(options, _DECIDING),
        "limits": GateLimits().model_dump(),
        "incumbent": {"target mIoU": 100 * outcomes[0].true_iou[0], "accuracy": 100 * outcomes[0].true_accuracy[0]},
        "estimates": figures,
        "confusion": table,
        "verdicts": {
            outcome.candidate: [check.model_dump() for check in outcome.verdict.checks] for outcome in outcomes
        },
    }
    print(write_report("gate", rows, settings, options.results))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gate", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=Path("runs/gate-benchmark"), help="keeps what is finished")
    parser.add_argument("--release", type=Path, default=STARTER_RELEASE, help="whose network the incumbent begins as")
    parser.add_argument("--plans", nargs="+", choices=PLANS, default=list(PLANS), metavar="PLAN", help=", ".join(PLANS))
    parser.add_argument("--rows", type=int, default=128, help="of a frame, twice as wide")
    parser.add_argument("--frames", type=int, default=96, help="of each domain to train on")
    parser.add_argument("--held-out", type=int, default=40, help="of each domain to judge by")
    parser.add_argument("--incumbent-iterations", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser


if __name__ == "__main__":
    main()
