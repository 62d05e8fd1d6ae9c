"""The benchmarks of engines run, on a tiny network, and count the operations that the authors' procedure takes."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from adaptation.learning.export.engines import cpu_has_bf16
from adaptation.learning.export.graph import reference_graph
from adaptation.learning.networks.hrda import build_hrda
from benchmarks import engine, engine_gpu
from benchmarks.engine_figures import EQUAL, TIMES, Subject, engine_way, matmul_flops_per_s, measure
from exchange.networks import WindowConfig

WAYS = [engine.AS_RELEASED, engine.WINDOWS_ONCE, engine.OPENVINO_FP32, engine.OPENVINO_BF16]


def tiny() -> Subject:
    torch.manual_seed(0)
    stages = {"embed_dims": (8, 16, 40, 64), "num_heads": (1, 2, 5, 8), "depths": (1,) * 4, "sr_ratios": (8, 4, 2, 1)}
    network = build_hrda("mit_custom", "light", channels=16, attention_channels=8, **stages).eval()
    windows = WindowConfig(outer_crop=(64, 64), outer_stride=(64, 32), detail_crop=(32, 32), detail_stride=(32, 32))
    return Subject(engine.MIT_B0, network, (64, 96), windows)


def test_every_way_is_measured_and_judged(tmp_path: Path) -> None:
    subject = tiny()
    peak_flops_per_s = matmul_flops_per_s(64, torch.float32)
    rows = measure(subject, engine.ways(subject, tmp_path, threads=1), 1, peak_flops_per_s)
    assert [row["way"] for row in rows] == WAYS
    released, once, fp32, bf16 = rows
    assert released[TIMES] == 1.0
    assert float(released[EQUAL]) == 100.0
    assert float(once[EQUAL]) > 99.9
    assert float(fp32[EQUAL]) > 99.0
    assert once["GFLOP"] < released["GFLOP"]
    for row in (released, once, fp32):
        assert row["ms"] > 0
        assert row["% of peak"] == pytest.approx(100e9 * row["GFLOP/s"] / peak_flops_per_s)
    assert (bf16["ms"] == "not on this CPU") != cpu_has_bf16()
    must = engine.verdicts(rows, cpu_has_amx=False)
    assert [row["holds"] for row in must] == ["not verifiable on this CPU"] * 2 + ["not measured"] * 2


def test_a_figure_is_held_against_its_must() -> None:
    figures = {"network": "mit_b0", "way": engine.OPENVINO_BF16, engine.FRAMES_PER_S: 1.0}
    must = engine.verdicts([figures | {TIMES: 12.5, EQUAL: "99.400"}], cpu_has_amx=True)
    assert [row["holds"] for row in must] == ["yes", "NO", "not measured", "not measured"]


def test_operations_are_those_of_the_authors_procedure() -> None:
    """GFLOP of HRDA's nested test mode, counted in the authors' own code: 30 windows as released, 24 unique."""
    subject = engine.mit_b0()
    released, once = (engine.eager_way("", subject, share_windows=share).flops for share in (False, True))
    assert released == pytest.approx(892.7e9, rel=1e-3)
    assert once == pytest.approx(715.6e9, rel=1e-3)


def test_operations_of_mit_b5_in_the_official_test_mode() -> None:
    with torch.device("meta"):  # nothing is computed
        subject = engine_gpu.mit_b5()
    graph = reference_graph(subject.network, subject.frame_size, subject.windows)
    way = engine_way("", engine_gpu.eager(graph), graph)
    assert way.flops == pytest.approx(6091.5e9, rel=1e-3)


def test_the_starter_is_read_in_one_pass_over_the_frame() -> None:
    subject = engine.starter()
    assert subject.windows.outer_crop == subject.frame_size == engine.FRAME_SIZE
    assert subject.windows.detail_crop == (256, 256)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU: python -m benchmarks.engine_gpu measures it")
def test_without_a_gpu_the_benchmark_says_so() -> None:
    ended = subprocess.run([sys.executable, "-m", "benchmarks.engine_gpu"], capture_output=True, text=True, timeout=240)
    assert (ended.returncode, ended.stdout.strip()) == (0, engine_gpu.NO_GPU), ended.stderr
