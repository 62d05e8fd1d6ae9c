"""The served networks on this CPU, from the authors' procedure to the project's engine: `python -m benchmarks.engine`.

(a) is HRDA's nested test mode in eager float32 as released: the detail windows of all outer windows in one batch,
those that outer windows share more than once. (b) reads each window once. (c) and (d) are the project's own graph in
OpenVINO, which gives confidence and statistics besides labels. A frame of the simulated city goes in as bytes, labels
come out; each time is the fastest of the repeats. GFLOP are those of the row's own graph: operations that it saves show
in its speed, not in its share of the peak, which is a matrix product in torch (bfloat16 where the CPU computes in it).
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from adaptation.learning.export.build_openvino import build_openvino
from adaptation.learning.export.engines import cpu_has_bf16, open_openvino
from adaptation.learning.export.graph import FrameGraph, for_inference
from adaptation.learning.networks.checkpoints import load_network
from adaptation.learning.networks.hrda import HRDA, build_hrda
from adaptation.learning.networks.imagenet import load_imagenet_weights
from adaptation.learning.networks.normalization import normalize
from benchmarks.engine_figures import (
    EQUAL,
    FRAMES_PER_S,
    SEED,
    TIMES,
    Absent,
    Labels,
    Subject,
    Way,
    engine_way,
    matmul_flops_per_s,
    measure,
    operations,
)
from benchmarks.report import RESULTS, Row, print_table, write_report
from exchange.networks import WindowConfig, whole_frame_windows
from exchange.registry.releases import read_manifest
from exchange.usable_cpus import usable_cpus
from server.settings import STARTER_RELEASE

FRAME_SIZE = (512, 1024)
MIT_B0_WINDOWS = WindowConfig(
    outer_crop=(512, 512), outer_stride=(256, 256), detail_crop=(256, 256), detail_stride=(128, 128)
)
MATMUL_SIDE = 2048

AS_RELEASED = "(a) eager fp32, as released"
WINDOWS_ONCE = "(b) eager fp32, windows once"
OPENVINO_FP32 = "(c) openvino fp32"
OPENVINO_BF16 = "(d) openvino bf16"
MIT_B0, STARTER, UNTRAINED = "mit_b0", "starter", "starter, untrained"


class Must(NamedTuple):
    """What a figure of row (d) must reach on a CPU with AMX."""

    network: str
    figure: str
    least: float


MUSTS = (
    Must(MIT_B0, TIMES, 12.0),
    Must(MIT_B0, EQUAL, 99.5),
    Must(STARTER, FRAMES_PER_S, 8.0),
    Must(STARTER, EQUAL, 99.7),
)


def mit_b0() -> Subject:
    """The authors' smallest network with random weights, in their nested test mode at half its size."""
    torch.manual_seed(SEED)
    return Subject(MIT_B0, build_hrda("mit_b0", "daformer").eval(), FRAME_SIZE, MIT_B0_WINDOWS)


def starter(release_dir: Path = STARTER_RELEASE) -> Subject:
    """The release that ships; where there is none, its network with ImageNet's encoder and a random head."""
    if release_dir.exists():
        manifest = read_manifest(release_dir)
        return Subject(STARTER, load_network(release_dir, manifest.network), manifest.frame_size, manifest.windows)
    torch.manual_seed(SEED)
    network = build_hrda("efficientnet_lite0", "light").eval()
    load_imagenet_weights(network)
    return Subject(UNTRAINED, network, FRAME_SIZE, whole_frame_windows(FRAME_SIZE))


NETWORKS = {MIT_B0: mit_b0, STARTER: starter}


def ways(subject: Subject, folder: Path, threads: int) -> Iterator[Way | Absent]:
    """From the authors' procedure to the engine, whose files are built in the folder."""
    yield eager_way(AS_RELEASED, subject, share_windows=False)
    yield eager_way(WINDOWS_ONCE, subject, share_windows=True)
    graph = FrameGraph(for_inference(subject.network), subject.frame_size, subject.windows, tiled=True)
    build_openvino(graph, folder, "fp32")
    yield engine_way(OPENVINO_FP32, open_openvino(folder, "fp32", threads=threads), graph)
    if cpu_has_bf16():
        yield engine_way(OPENVINO_BF16, open_openvino(folder, "bf16", threads=threads), graph)
    else:
        yield Absent(OPENVINO_BF16, "not on this CPU")


def eager_way(name: str, subject: Subject, *, share_windows: bool) -> Way:
    """As the authors label a frame: logits at its size, softmax, argmax."""
    read = partial(HRDA.forward_frame, windows=subject.windows, share_windows=share_windows)

    def label(frame_HW3: Labels) -> Labels:
        image_13HW = normalize(torch.from_numpy(frame_HW3)[None]).contiguous()
        with torch.inference_mode():
            logits_1KHW = read(subject.network, image_13HW)
            return logits_1KHW.softmax(1).argmax(1)[0].to(torch.uint8).numpy()

    image_13HW = torch.empty(1, 3, *subject.frame_size, device="meta")
    return Way(name, label, operations(subject.network, lambda network: read(network, image_13HW)))


def verdicts(rows: Sequence[Row], *, cpu_has_amx: bool) -> list[Row]:
    """What must hold, as far as these rows can tell."""
    judged: list[Row] = []
    for must in MUSTS:
        figures = {row["way"]: row[must.figure] for row in rows if row["network"] == must.network}
        measured = figures.get(OPENVINO_BF16, "-")
        if not figures:
            holds = "not measured"
        elif not cpu_has_amx:
            holds = "not verifiable on this CPU"
        else:
            holds = "yes" if float(measured) >= must.least else "NO"
        name = f"{must.network}, {OPENVINO_BF16}: >= {must.least:g} {must.figure}"
        judged.append({"must, on a CPU with AMX": name, "measured": measured, "holds": holds})
    return judged


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", action="append", choices=NETWORKS, help="both if absent; may be repeated")
    parser.add_argument("--repeats", type=int, default=5, help="timed calls of each way, after one to warm up")
    parser.add_argument("--threads", type=int, default=usable_cpus(), help="every usable core if absent")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the dated file")
    arguments = parser.parse_args()
    if min(arguments.repeats, arguments.threads) < 1:
        parser.error("--repeats and --threads must be at least 1")
    torch.set_num_threads(arguments.threads)
    peak_dtype, peak_name = (torch.bfloat16, "bf16") if cpu_has_bf16() else (torch.float32, "fp32")
    peak_flops_per_s = matmul_flops_per_s(MATMUL_SIDE, peak_dtype)
    rows: list[Row] = []
    for network in arguments.network or NETWORKS:
        subject = NETWORKS[network]()
        with tempfile.TemporaryDirectory() as folder:
            found = ways(subject, Path(folder), arguments.threads)
            rows += measure(subject, found, arguments.repeats, peak_flops_per_s)
    must = verdicts(rows, cpu_has_amx="amx_bf16" in Path("/proc/cpuinfo").read_text())
    peak = f"{peak_flops_per_s / 1e9:.0f} GFLOP/s, a {peak_name} matrix product of side {MATMUL_SIDE}"
    print_table(f"One frame on {arguments.threads} threads; the peak is {peak}", rows)
    print_table("What must hold", must)
    settings = {"peak": peak, **{name: getattr(arguments, name) for name in ("repeats", "threads")}}
    print(write_report("engine", [*rows, *must], settings, arguments.results))


if __name__ == "__main__":
    main()
