"""Whether rounds help on frames with labels: `python -m benchmarks.adaptation --camvid DIR --bdd DIR --minutes 60`.

The table is a grid of cells: a shift, a start, a row and a seed. Each finished cell is a file below
benchmarks/results/adaptation; a call measures the worthiest missing ones in the given time and draws the table from all
that are there. A cell that is cut off goes on in the next call, from its folder below --work.
"""

import argparse
import time
from pathlib import Path

from adaptation.learning.data.labelled_frames import DataError
from benchmarks.adaptation.cells import Bench, Cell, Key, read_cells, run_cell
from benchmarks.adaptation.grid import SEEDS, chosen
from benchmarks.adaptation.rows import ROWS, START
from benchmarks.adaptation.shifts import SHIFTS, open_shift
from benchmarks.adaptation.starts import STARTS, make_start
from benchmarks.adaptation.table import demands, figure, outdated, regrets, table
from benchmarks.report import RESULTS, print_table

_CELL_MINUTES = 8
"""What a cell may take: with less time left none is begun."""


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    try:
        _measure(options)
    except DataError as error:
        raise SystemExit(str(error)) from error
    cells = read_cells(options.results)
    if not cells:
        print(f"{options.results} holds no cell yet: give --minutes")
        return
    print_table("Gains over the start, points of IoU", table(cells))
    if lines := regrets(cells):
        print_table("Weights between the start and the trained ones", lines)
    print("\n".join(demands(cells)))
    if left_out := outdated(cells):
        print(f"{left_out} cells of earlier settings are left out")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.adaptation", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--minutes", type=float, default=0, help="time to measure cells in; 0, the default, draws the table"
    )
    parser.add_argument("--camvid", type=Path, help="folder with day/ and dusk/ of CamVid")
    parser.add_argument("--bdd", type=Path, help="folder with splits.csv, frames/ and labels/ of BDD's drivable area")
    parser.add_argument(
        "--shifts", nargs="+", choices=SHIFTS, default=list(SHIFTS), metavar="SHIFT", help=", ".join(SHIFTS)
    )
    parser.add_argument(
        "--starts", nargs="+", choices=STARTS, default=list(STARTS), metavar="START", help=", ".join(STARTS)
    )
    parser.add_argument(
        "--rows", nargs="+", choices=list(ROWS), metavar="ROW", help=f"in place of the worthiest: {', '.join(ROWS)}"
    )
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many (%(default)s)")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("runs/adaptation-benchmark"),
        help="for data, starts and begun cells (%(default)s)",
    )
    parser.add_argument("--results", type=Path, default=RESULTS / "adaptation", help="folder of the finished cells")
    return parser


def _measure(options: argparse.Namespace) -> None:
    end_s = time.monotonic() + 60 * options.minutes
    for key in chosen(options.shifts, options.starts, options.rows, options.seeds):
        if key.files(options.results):
            continue
        if time.monotonic() + 60 * _CELL_MINUTES > end_s:
            return
        bench = _bench(options, key)
        before = _cell(bench, key._replace(row=START, seed=0), options.results)
        if key.row != START:
            _cell(bench, key, options.results, before)


def _bench(options: argparse.Namespace, key: Key) -> Bench:
    data = {"camvid-dusk": options.camvid, "bdd-night": options.bdd}.get(key.shift)
    shift = open_shift(key.shift, data, options.work / "data" / key.shift)
    place = f"{key.shift}-{key.start}"
    return Bench(shift, make_start(key.start, shift, options.work / "starts" / place), options.work / "cells" / place)


def _cell(bench: Bench, key: Key, results: Path, before: Cell | None = None) -> Cell:
    """Return a cell that is there, or measure it and tell how it ended."""
    path = key.file(results, bench.start)
    if path.exists():
        return Cell.read(path)
    cell = run_cell(bench, key, results)
    figures = {truth: figure([cell], [before or cell], truth) for truth in cell.target}
    told = ", ".join(f"{truth} {one.value:.1f} ({one.gain:+.1f})" for truth, one in figures.items())
    judged = "" if cell.gate is None else f", {'promoted' if cell.gate.promoted else 'refused'}"
    took = "resumed" if cell.seconds is None else f"{cell.seconds / 60:.1f} min"
    print(f"{', '.join(map(str, key))}: {told}{judged}, {took}", flush=True)
    return cell


if __name__ == "__main__":
    main()
