"""What each method of adaptation is worth on frames with labels: `python -m benchmarks.adaptation --data DIR`.

Every row starts from a network that is trained on the source here (one for each seed), or from a given one that never
saw the target, and is scored on target frames that no row sees labels of. Finished cells (row, seed, split) are kept
below --work: a run that was cut off goes on, and more rows or seeds can be added later. The table is printed and
written to benchmarks/results after each call.
"""

import argparse
import math
from dataclasses import replace
from pathlib import Path

from adaptation.learning.training.recipes import TrainingConfig, starter
from benchmarks.adaptation.cells import Bench, Cell, run_cell
from benchmarks.adaptation.protocol import Protocol, open_protocol
from benchmarks.adaptation.rows import ROWS
from benchmarks.adaptation.summary import class_table, mean_percent, summarize, verdicts
from benchmarks.kept_settings import keep_settings
from benchmarks.report import RESULTS, Row, print_table, write_report
from exchange.jobs.crops import CropSettings
from exchange.jobs.recipes import RoundConfig, full
from exchange.networks import NetworkConfig

_DECIDING = ("data", "start", "source_iterations", "iterations", "most_frames", "target", "miniature")


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    options.work.mkdir(parents=True, exist_ok=True)
    keep_settings(options, _DECIDING)
    bench = _bench(options, open_protocol(options.data, options.work / "data", options.target))
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for row in options.rows:
            for split in bench.cells(row):
                cell = run_cell(bench, row, seed, split)
                figures = ", ".join(f"{name} {mean_percent(scores):.1f}" for name, scores in cell.target.items())
                print(f"{row}, seed {seed}: {figures}, source {mean_percent(cell.source):.1f}", flush=True)
    _report(options, bench.protocol)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.adaptation", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="CamVid (day/ and dusk/, or public), or sim-*/")
    parser.add_argument("--work", type=Path, default=Path("runs/adaptation-benchmark"), help="keeps finished cells")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--start", type=Path, help="a release or a network to start from, for all seeds")
    parser.add_argument("--source-iterations", type=int, default=500, help="of the training of a start")
    parser.add_argument("--iterations", type=int, help="of every other training; each recipe's own by default")
    parser.add_argument("--most-frames", type=int, default=60, help="scored of the source, measured of each domain")
    parser.add_argument("--target", default="sim-dusk", help="domain of the simulated city")
    parser.add_argument("--miniature", action="store_true", help="a toy network on small crops: shows that it runs")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the dated JSON")
    return parser


def _bench(options: argparse.Namespace, protocol: Protocol) -> Bench:
    start_recipe, shrink = starter(), None
    if options.miniature:
        start_recipe, shrink = _miniature(start_recipe)
        protocol = replace(protocol, frame_size=(64, 96))
    return Bench(
        protocol=protocol,
        work=options.work,
        start=options.start,
        start_recipe=start_recipe,
        start_iterations=options.source_iterations,
        shrink=shrink,
        iterations=options.iterations,
        upper_iterations=int(full().budget),
        most_frames=options.most_frames,
    )


def _miniature(start: TrainingConfig) -> tuple[TrainingConfig, RoundConfig]:
    sizes = {"embed_dims": (8, 16, 40, 64), "num_heads": (1, 2, 5, 8), "depths": (1,) * 4, "sr_ratios": (8, 4, 2, 1)}
    network = NetworkConfig(encoder="mit_custom", head="light", dims={**sizes, "channels": 16, "attention_channels": 8})
    crops = CropSettings(
        crop_hw=(64, 64), fit_hw=(64, 128), scale_range=(0.8, 1.5), photometric="wide", rare_class_min_pixels=50
    )
    shared = {"crops": crops, "detail_hw": (32, 32), "batch_size": 2}
    return (
        start.model_copy(update={**shared, "network": network, "frozen_stages": None}),
        full().model_copy(update={**shared, "measured_frames": 4}),
    )


def _report(options: argparse.Namespace, protocol: Protocol) -> None:
    """Tells all finished cells below --work, those of earlier calls too."""
    cells = [Cell.read(path) for path in sorted(options.work.glob("cells/*/cell.json"))]
    splits = list(protocol.splits)
    rows, classes = summarize(cells, splits), class_table(cells, splits[0])
    print_table(f"Adaptation, mIoU %, {options.data}", [_printable(row) for row in rows])
    print_table(f"IoU % by class, {splits[0]}", [_printable(row) for row in classes])
    by_row = {row["row"]: {name: value for name, value in _measured(row).items() if name != "row"} for row in classes}
    settings = keep_settings(options, _DECIDING) | {
        "frame_size": protocol.frame_size,
        "scored_frames": {name: len(split.scored) for name, split in protocol.splits.items()},
        "seeds": sorted({cell.seed for cell in cells}),
        "verdicts": verdicts(rows, splits),
        "iou_by_class": by_row,
        "cells": [cell.model_dump() for cell in cells],
    }
    for line in verdicts(rows, splits):
        print(line)
    path = write_report("adaptation", [_measured(row) for row in rows], settings, options.results)
    print(f"written to {path}")


def _measured(row: Row) -> Row:
    """JSON has no NaN: what was not measured is left out."""
    return {name: value for name, value in row.items() if not (isinstance(value, float) and math.isnan(value))}


def _printable(row: Row) -> Row:
    """One decimal, and a dash for what was not measured."""
    return {
        name: ("-" if math.isnan(value) else f"{value:.1f}") if isinstance(value, float) else value
        for name, value in row.items()
    }


if __name__ == "__main__":
    main()
