"""Clicks by acquisition against clicks at random, in the simulated city: `python -m benchmarks.annotation`

A network that is used to plain daylight meets dusk. Three times the learner asks for 200 clicks, simulated annotators
answer with 5 % of mistakes at the desk, and a round learns from what they said; once with the regions that acquisition
picks, once with random ones. Told is the mIoU on dusk drives that nothing was trained on. Parts that were finished
under --work stay, so that a call goes on where one was cut off.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from rich.progress import Progress

from benchmarks.annotation.arm import AfterRound, Arm, Choice, dusk_scores, recipe
from benchmarks.gate.candidates import make_incumbent
from benchmarks.gate.city import City, render_city
from benchmarks.kept_settings import keep_settings
from benchmarks.report import RESULTS, Row, print_table, write_report

STARTER = Path("model_repository/starter")
_DECIDING = ("rows", "frames", "held_out", "start_iterations", "iterations", "clicks", "mistakes")
_TOLD = {"clicks": "clicks", "pixels": "labelled_pixels", "right": "right", "corrected": "corrected_pixels"}
Results = dict[Choice, list[list[AfterRound]]]
"""By choice, then seed, then round."""


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    options.work.mkdir(parents=True, exist_ok=True)
    keep_settings(options, _DECIDING)
    torch.set_num_threads(options.threads)
    with Progress() as progress:
        city = _city(options, progress)
        task = progress.add_task("the start learns plain daylight", total=1)
        start = make_incumbent(city, STARTER, options.work / "start", options.start_iterations, seed=0)
        progress.update(task, completed=1)
        results = _results(options, city, start, progress)
    _report(options, city, start, results)


def _city(options: argparse.Namespace, progress: Progress) -> City:
    size_hw = (options.rows, 2 * options.rows)
    task = progress.add_task("rendering", total=None)
    city = render_city(
        options.work / "city",
        size_hw,
        options.frames,
        lambda done, total: progress.update(task, completed=done, total=total),
        held_out=options.held_out,
    )
    progress.update(task, total=1, completed=1)
    return city


def _results(options: argparse.Namespace, city: City, start: Path, progress: Progress) -> Results:
    choices: tuple[Choice, ...] = get_args(Choice)
    task = progress.add_task("rounds", total=len(choices) * len(options.seeds) * options.rounds)
    results: Results = {choice: [] for choice in choices}
    for seed in options.seeds:
        for choice in choices:
            arm = Arm(
                city=city,
                choice=choice,
                folder=options.work / f"{choice}-{seed}",
                seed=seed,
                clicks=options.clicks,
                mistakes=options.mistakes,
                iterations=options.iterations,
            )
            results[choice].append(arm.run(start, options.rounds, lambda: progress.advance(task)))
    return results


def rows_of(start_iou: float, results: Results) -> list[Row]:
    """Means over the seeds, in points of mIoU."""
    rows: list[Row] = [{"after round": 0, "acquisition": 100 * start_iou, "random": 100 * start_iou, "difference": 0.0}]
    for number in range(len(results["acquisition"][0])):
        after = {choice: [seed[number] for seed in seeds] for choice, seeds in results.items()}
        iou = {choice: 100 * float(np.mean([each.mean_iou for each in some])) for choice, some in after.items()}
        rows.append(
            {
                "after round": number + 1,
                "acquisition": iou["acquisition"],
                "random": iou["random"],
                "difference": iou["acquisition"] - iou["random"],
                **{
                    f"{what}, {choice}": float(np.mean([getattr(each, field) for each in some]))
                    for choice, some in after.items()
                    for what, field in _TOLD.items()
                },
            }
        )
    return rows


def _report(options: argparse.Namespace, city: City, start: Path, results: Results) -> None:
    start_iou, start_by_class = dusk_scores(start, city)
    rows = rows_of(start_iou, results)
    print_table(
        f"mIoU % at dusk, mean of {len(options.seeds)} seeds, {options.clicks} clicks a round",
        [{name: row.get(name, "-") for name in rows[-1]} for row in rows],
    )
    settings = {
        **keep_settings(options, _DECIDING),
        "seeds": options.seeds,
        "recipe": recipe(city.size_hw, options.iterations).model_dump(mode="json"),
        "start_iou_by_class": start_by_class,
        "results": {choice: [[e.model_dump() for e in seed] for seed in seeds] for choice, seeds in results.items()},
    }
    print(write_report("annotation", rows, settings, options.results))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.annotation", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=Path("runs/annotation-benchmark"), help="keeps what is finished")
    parser.add_argument("--rows", type=int, default=128, help="of a frame, twice as wide")
    parser.add_argument("--frames", type=int, default=96, help="of each domain to train on")
    parser.add_argument("--held-out", type=int, default=40, help="of each domain, dusk's to score by")
    parser.add_argument("--start-iterations", type=int, default=150)
    parser.add_argument("--iterations", type=int, default=200, help="of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clicks", type=int, default=200, help="a round")
    parser.add_argument("--mistakes", type=float, default=0.05, help="of the answers")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="SEED")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser


if __name__ == "__main__":
    main()
