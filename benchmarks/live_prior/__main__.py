"""Live priors on a fleet whose classes shift at a known moment: `python -m benchmarks.live_prior`.

Drives of the simulated city are rendered and labelled once by a release's engine and kept below --work, so that a run
that was cut off goes on. Each seed draws drives of sim-day, then of another domain; estimates see nothing but presence
rows. Judged are the 90 % intervals at the end against the shares over all of the domain's drives, and the labels with
and without adjustment, window by window.
"""

import argparse
from pathlib import Path

import numpy as np
from rich.progress import Progress

from benchmarks.live_prior.observed_drives import ObservedDrive, observe_drives
from benchmarks.live_prior.simulated_shift import Outcome, judge, make_timeline, source_presence, true_shares
from benchmarks.report import RESULTS, Row, print_table, write_report
from exchange.plan.estimate import SourceView
from exchange.registry.releases import Manifest, read_manifest
from server.settings import STARTER_RELEASE

SOURCE, TARGETS = "sim-day", ("sim-dusk", "sim-rain", "sim-fog")
LEAST_COVERED = 0.80
LARGEST_LOSS = 0.5
_TARGETS_FIRST_SEED = 5000


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    manifest = read_manifest(options.release)
    drives = _observe(options)
    thresholds_K = np.array(manifest.source_pixel_frequency)
    statistics, before = drives[SOURCE][: options.drives], drives[SOURCE][options.drives :]
    seen_K = np.array(source_presence(statistics, thresholds_K))
    views = {
        "what the outputs follow, as served": SourceView.of(manifest),
        "the same model on the source": SourceView(thresholds_K, seen_K / seen_K.sum()),
    }
    rows = [
        _row(target, against, _outcomes(before, drives[target], source, options))
        for against, source in views.items()
        for target in options.targets
    ]
    print_table("Live priors after a shift", rows)
    for verdict in verdicts(rows):
        print(verdict)
    settings = {"release": str(options.release), "manifest_created_at": _created(manifest), **_told(options)}
    print(write_report("live_prior", rows, settings, options.results))


def _observe(options: argparse.Namespace) -> dict[str, list[ObservedDrive]]:
    seeds = {SOURCE: range(2 * options.drives)}
    seeds.update(
        {target: range(_TARGETS_FIRST_SEED, _TARGETS_FIRST_SEED + options.drives) for target in options.targets}
    )
    observed = {}
    with Progress() as progress:
        task = progress.add_task("drives", total=sum(map(len, seeds.values())))
        for domain, chosen in seeds.items():
            found = observe_drives(
                options.release, options.work, domain, chosen, options.frames, lambda: progress.advance(task)
            )
            observed[domain] = list(found)
    return observed


def _outcomes(
    before: list[ObservedDrive], after: list[ObservedDrive], source: SourceView, options: argparse.Namespace
) -> list[Outcome]:
    truth_K = true_shares(after, source)
    outcomes = []
    for seed in range(options.seeds):
        random = np.random.default_rng(seed)
        chosen_before = [before[index] for index in random.permutation(len(before))[: len(before) // 2]]
        chosen_after = [after[index] for index in random.permutation(len(after))[: 2 * len(after) // 3]]
        outcomes.append(judge(make_timeline(chosen_before, chosen_after), truth_K, source, options.window, seed))
    return outcomes


def _row(target: str, against: str, outcomes: list[Outcome]) -> Row:
    changes = np.concatenate([outcome.iou_change_W for outcome in outcomes])
    return {
        "target": target,
        "against": against,
        "seeds": len(outcomes),
        "covered": float(np.mean([outcome.covered_K for outcome in outcomes])),
        "mean width": float(np.mean([outcome.width_K for outcome in outcomes])),
        "windows": len(changes),
        "worst change, mIoU": float(changes.min()),
        "mean change, mIoU": float(changes.mean()),
        "mIoU without": float(np.mean([outcome.mean_iou_W.mean() for outcome in outcomes])),
        "largest |ratio|": max(outcome.largest_ratio for outcome in outcomes),
    }


def verdicts(rows: list[Row]) -> list[str]:
    """What must hold, over all rows of each way to compare with the source."""
    lines = []
    for against in dict.fromkeys(str(row["against"]) for row in rows):
        chosen = [row for row in rows if row["against"] == against]
        covered = float(np.mean([float(row["covered"]) for row in chosen]))
        worst = min(float(row["worst change, mIoU"]) for row in chosen)
        for figure, holds in (
            (f"intervals cover {100 * covered:.1f} % of pairs (must: 80)", covered >= LEAST_COVERED),
            (f"worst window {worst:+.2f} mIoU (must: -0.5)", worst >= -LARGEST_LOSS),
        ):
            lines.append(f"{'holds' if holds else 'FAILS'}: against {against}, {figure}")
    return lines


def _created(manifest: Manifest) -> str:
    return manifest.created_at.isoformat(timespec="seconds")


def _told(options: argparse.Namespace) -> dict[str, object]:
    return {name: getattr(options, name) for name in ("drives", "frames", "seeds", "window")}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live_prior", description=__doc__)
    parser.add_argument("--release", type=Path, default=STARTER_RELEASE)
    parser.add_argument("--work", type=Path, default=Path("runs/live-prior-benchmark"), help="keeps observed drives")
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--drives", type=int, default=48, help="of each domain; of the source, as many more")
    parser.add_argument("--frames", type=int, default=16, help="of each drive, 2 s apart")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--window", type=int, default=256, help="frames over which mIoU is compared")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser


if __name__ == "__main__":
    main()
