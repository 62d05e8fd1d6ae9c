"""mit_b5 on one NVIDIA GPU in HRDA's official test mode: `python -m benchmarks.engine_gpu`.

A 1024x2048 frame, outer windows of 1024 every 512, detail windows of 512 every 256, each of the 24 windows read once;
random weights. Every way goes from a frame in the host's memory to labels, confidence and statistics there; each time
is the fastest of the repeats. GFLOP are those of the row's own graph, the peak is a bfloat16 matrix product in torch.

Not verified: nothing in this module has run on a GPU yet.
"""

import argparse
import copy
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch

from adaptation.learning.export.build_tensorrt import PLAN_NAME, build_tensorrt
from adaptation.learning.export.build_torch import COMPILED_NAME, build_torch
from adaptation.learning.export.gpu_engines import open_compiled, open_plan, replayed
from adaptation.learning.export.graph import FrameGraph, for_inference, reference_graph
from adaptation.learning.export.loaded_engine import Arrays, LoadedEngine
from adaptation.learning.networks.hrda import HRDA, build_hrda
from benchmarks.engine_figures import (
    SEED,
    Absent,
    Subject,
    Way,
    engine_way,
    matmul_flops_per_s,
    measure,
)
from benchmarks.report import RESULTS, print_table, write_report
from exchange.networks import WindowConfig

FRAME_SIZE = (1024, 2048)
WINDOWS = WindowConfig(
    outer_crop=(1024, 1024), outer_stride=(512, 512), detail_crop=(512, 512), detail_stride=(256, 256)
)
MATMUL_SIDE = 8192
REASON_CHARACTERS = 300
AIM = "aim: 40 frames/s on an H100"
NO_GPU = "torch finds no NVIDIA GPU here: nothing was measured"


def mit_b5() -> Subject:
    torch.manual_seed(SEED)
    return Subject("mit_b5", build_hrda("mit_b5", "daformer").eval(), FRAME_SIZE, WINDOWS)


def ways(subject: Subject, folder: Path) -> Iterator[Way | Absent]:
    """From eager float32 to TensorRT; engines' files are built in the folder. A way that fails says why."""

    def plain_graph(network: HRDA) -> FrameGraph:
        return reference_graph(network, subject.frame_size, subject.windows).cuda()

    yield _way("(a) eager fp32", plain_graph(subject.network), eager)
    yield _way("(b) eager bf16", plain_graph(copy.deepcopy(subject.network).bfloat16()), eager)
    graph = plain_graph(for_inference(subject.network, torch.bfloat16))
    yield _way("(c) torch.compile bf16, CUDA graph", graph, just_in_time)
    yield _way("(d) compiled ahead bf16, CUDA graph", graph, partial(ahead_of_time, folder=folder))
    yield _way("(e) TensorRT bf16, CUDA graph", graph, partial(tensorrt, folder=folder))


def _way(name: str, graph: FrameGraph, make_engine: Callable[[FrameGraph], LoadedEngine]) -> Way | Absent:
    try:
        return engine_way(name, make_engine(graph), graph)
    except (ImportError, RuntimeError) as error:
        return Absent(name, f"{type(error).__name__}: {error}"[:REASON_CHARACTERS])


def eager(graph: FrameGraph) -> LoadedEngine:
    def run(arrays: Arrays) -> Arrays:
        with torch.inference_mode():
            return [tensor.cpu().numpy() for tensor in graph(*(torch.from_numpy(array).cuda() for array in arrays))]

    return LoadedEngine(run)


def just_in_time(graph: FrameGraph) -> LoadedEngine:
    return replayed(torch.compile(graph), graph.frame_size)


def ahead_of_time(graph: FrameGraph, folder: Path) -> LoadedEngine:
    """As a release's engine `torch` is built and loaded."""
    build_torch(graph, folder)
    return open_compiled(folder / COMPILED_NAME, graph.frame_size)


def tensorrt(graph: FrameGraph, folder: Path) -> LoadedEngine:
    """As a release's engine `tensorrt` is built, from a graph on the CPU, and loaded."""
    build_tensorrt(copy.deepcopy(graph).cpu(), folder)
    return open_plan(folder / PLAN_NAME, graph.frame_size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20, help="timed calls of each way, after one to warm up")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the dated file")
    arguments = parser.parse_args()
    if arguments.repeats < 1:
        parser.error("--repeats must be at least 1")
    if not torch.cuda.is_available():
        print(NO_GPU)
        return
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True  # as the authors run it: all sizes stay the same
    peak_flops_per_s = matmul_flops_per_s(MATMUL_SIDE, torch.bfloat16, "cuda")
    peak = f"{peak_flops_per_s / 1e12:.0f} TFLOP/s, a bf16 matrix product of side {MATMUL_SIDE}"
    subject = mit_b5()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(subject, ways(subject, Path(folder)), arguments.repeats, peak_flops_per_s)
    gpu = torch.cuda.get_device_name()
    print_table(f"One {FRAME_SIZE[0]}x{FRAME_SIZE[1]} frame on {gpu}; the peak is {peak}", rows)
    print(AIM)
    print(write_report("engine_gpu", rows, {"gpu": gpu, "peak": peak, "repeats": arguments.repeats}, arguments.results))


if __name__ == "__main__":
    main()
