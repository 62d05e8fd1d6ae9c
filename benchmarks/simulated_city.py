"""How fast the simulated city is drawn on one core, and how often each class occurs in it.

`python -m benchmarks.simulated_city`

A drive is timed as the demo uses it: frame after frame, 5 a second, the first frame's preparation told apart. On a
machine that does other work, CPU time is the fairer figure; both are shown.
"""

import argparse
import time

import cv2
import numpy as np

from benchmarks.report import Row, print_table, write_report
from clients.simulation.city import DOMAINS, SimulatedDrive
from exchange.label_space import CLASS_NAMES, NUM_CLASSES

SIZE_HW = (512, 1024)


def time_domain(domain: str, drives: int, frames: int) -> Row:
    """Mean milliseconds of a frame over several drives, wall and CPU."""
    preparation_s, wall_s, cpu_s = [], [], []
    for seed in range(drives):
        start = time.perf_counter()
        drive = SimulatedDrive(domain, seed, SIZE_HW)
        drive.frame(0)
        preparation_s.append(time.perf_counter() - start)
        for index in range(1, frames + 1):
            wall, cpu = time.perf_counter(), time.process_time()
            drive.frame(index)
            wall_s.append(time.perf_counter() - wall)
            cpu_s.append(time.process_time() - cpu)
    return {
        "domain": domain,
        "first frame, ms": 1e3 * float(np.mean(preparation_s)),
        "frame, ms": 1e3 * float(np.mean(wall_s)),
        "p90, ms": 1e3 * float(np.quantile(wall_s, 0.9)),
        "frame, CPU ms": 1e3 * float(np.mean(cpu_s)),
        "frames/s": 1 / float(np.mean(wall_s)),
        "frames/CPU s": 1 / float(np.mean(cpu_s)),
    }


def class_shares(domain: str, drives: int, frames: int) -> np.ndarray:
    """Share of each class among the labelled pixels in %, from frames of a quarter of the size, a second apart."""
    counts = np.zeros(256)
    for seed in range(drives):
        drive = SimulatedDrive(domain, seed, (SIZE_HW[0] // 2, SIZE_HW[1] // 2), frames_per_s=1.0)
        for index in range(frames):
            counts += np.bincount(drive.frame(index).labels_HW.ravel(), minlength=256)
    return 100 * counts[:NUM_CLASSES] / counts[:NUM_CLASSES].sum()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--drives", type=int, default=4, help="drives of each domain")
    parser.add_argument("--frames", type=int, default=20, help="frames of each drive")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    speed = [time_domain(domain, arguments.drives, arguments.frames) for domain in DOMAINS]
    shares = {domain: class_shares(domain, arguments.drives, arguments.frames) for domain in DOMAINS}
    classes: list[Row] = [
        {"class": name, **{f"{domain}, %": float(shares[domain][k]) for domain in DOMAINS}}
        for k, name in enumerate(CLASS_NAMES)
    ]
    print_table(f"Drawing {SIZE_HW[0]}x{SIZE_HW[1]} on one core", speed)
    print_table("Pixels of each class", classes)
    settings = {"size_hw": SIZE_HW, "drives": arguments.drives, "frames": arguments.frames, "opencv_threads": 1}
    print(write_report("simulated_city", [*speed, *classes], settings))


if __name__ == "__main__":
    main()
