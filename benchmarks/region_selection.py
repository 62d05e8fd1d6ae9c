"""The one-pass region selection beside the search it replaces, same picks: `python -m benchmarks.region_selection`.

One of RIPU's five rounds at 2.2 % with 3 x 3 regions, on smooth random scores. The plain loop searches the whole map
again for each region, column maxima first, as the released code does. `--full` adds the authors' 1024 x 2048 frame.
"""

import argparse
import time
from collections.abc import Callable
from typing import TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import ArrayLike

from adaptation.learning.methods.ripu import Selection, region_scores, regions_per_round, select_regions
from benchmarks.report import Row, print_table, write_report

SIZES_HW = ((128, 256), (256, 512), (512, 1024))
FULL_SIZE_HW = (1024, 2048)
RATIO, ROUNDS, RADIUS = 0.022, 5, 1

T = TypeVar("T")


def select_regions_by_search(scores: ArrayLike, active: ArrayLike, count: int, radius: int) -> Selection:
    """The plain loop: find the best free pixel, block the box around it, again."""
    scores_HW = torch.from_numpy(np.array(scores, dtype=np.float32))
    active_HW = np.array(active, dtype=bool)
    scores_HW[torch.from_numpy(active_HW)] = -torch.inf
    centers = []
    for _ in range(count):
        best_of_column, rows = scores_HW.max(dim=0)
        column = int(best_of_column.argmax())
        if best_of_column[column] == -torch.inf:
            break
        row = int(rows[column])
        centers.append((row, column))
        blocked = np.s_[
            max(row - 2 * radius, 0) : row + 2 * radius + 1, max(column - 2 * radius, 0) : column + 2 * radius + 1
        ]
        scores_HW[blocked] = -torch.inf
        active_HW[blocked] = True
    return Selection(np.array(centers, dtype=np.int64).reshape(-1, 2), active_HW)


def smooth_logits(size_hw: tuple[int, int], seed: int = 0) -> torch.Tensor:
    """Random logits of 19 classes in blobs, with noise, float32 [19, H, W]."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(19, size_hw[0] // 16, size_hw[1] // 16)).astype(np.float32)
    blobs = np.stack([cv2.resize(map_HW, size_hw[::-1], interpolation=cv2.INTER_CUBIC) for map_HW in coarse])
    return torch.from_numpy(4 * blobs + rng.normal(size=blobs.shape).astype(np.float32))


def timed(call: Callable[[], T]) -> tuple[T, float]:
    """A call's result and its CPU seconds: one thread, and fairer than wall time beside other work."""
    start = time.process_time()
    result = call()
    return result, time.process_time() - start


def compare(size_hw: tuple[int, int]) -> Row:
    logits_CHW = smooth_logits(size_hw)
    free_HW = np.zeros(size_hw, dtype=bool)
    count = regions_per_round(*size_hw, RATIO, ROUNDS, RADIUS)
    scores, score_s = timed(lambda: region_scores(logits_CHW, RADIUS).acquisition_HW.numpy())
    fast, fast_s = timed(lambda: select_regions(scores, free_HW, count, RADIUS))
    plain, plain_s = timed(lambda: select_regions_by_search(scores, free_HW, count, RADIUS))
    if not np.array_equal(fast.centers_R2, plain.centers_R2):
        raise SystemExit(f"the two selections differ at {size_hw}: the fast one is wrong")
    return {
        "frame": f"{size_hw[0]} x {size_hw[1]}",
        "regions": count,
        "scores, CPU s": score_s,
        "one pass, CPU s": fast_s,
        "plain loop, CPU s": plain_s,
        "times faster": plain_s / fast_s,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help=f"also {FULL_SIZE_HW[0]} x {FULL_SIZE_HW[1]}")
    sizes_hw = (*SIZES_HW, FULL_SIZE_HW) if parser.parse_args().full else SIZES_HW
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    compare(SIZES_HW[0])  # warms up
    rows = [compare(size_hw) for size_hw in sizes_hw]
    print_table("One round of RIPU's region selection", rows)
    path = write_report("region_selection", rows, {"ratio": RATIO, "rounds": ROUNDS, "radius": RADIUS})
    print(f"written to {path}")


if __name__ == "__main__":
    main()
