"""Engines, loaded from a release's folder and called alike: by parity, evaluation and benchmarks.

A gateway's host loads the same files by itself (see `exchange.contract`) and needs nothing of this package.
"""

from pathlib import Path

import openvino
import torch

from adaptation.learning.export import build_openvino, build_tensorrt, build_torch
from adaptation.learning.export.gpu_engines import open_compiled, open_plan
from adaptation.learning.export.loaded_engine import Arrays, LoadedEngine, run_eagerly
from adaptation.learning.networks.frame_forward import compile_for_cpu
from exchange.contract import INPUTS, OUTPUTS
from exchange.registry.releases import ENGINE_FOLDER, Manifest, Precision, verify_release


def load_engine(release_dir: Path, *, threads: int = 0) -> LoadedEngine:
    """Loads the engine of a release, after checking its files against the manifest.

    `threads` is how many cores one inference may use (OpenVINO only; 0 means all).

    Raises:
        ReleaseError: a file is missing, added or altered.
        TensorRTError: the release needs TensorRT and it is not installed.
    """
    return open_engine(release_dir / ENGINE_FOLDER, verify_release(release_dir), threads=threads)


def open_engine(engine_dir: Path, manifest: Manifest, *, threads: int = 0) -> LoadedEngine:
    """Loads the engine that a manifest describes from a folder that is not checked."""
    if manifest.engine == "openvino":
        return open_openvino(engine_dir, manifest.precision, threads=threads)
    if manifest.engine == "torch":
        return open_torch(engine_dir, manifest.frame_size)
    return open_plan(engine_dir / build_tensorrt.PLAN_NAME, manifest.frame_size)


def open_openvino(engine_dir: Path, precision: Precision, *, threads: int = 0) -> LoadedEngine:
    request = compile_openvino(engine_dir, precision, threads=threads).create_infer_request()

    def run(inputs: Arrays) -> Arrays:
        request.infer({spec.name: array for spec, array in zip(INPUTS, inputs, strict=True)}, share_inputs=True)
        return [request.get_tensor(spec.name).data for spec in OUTPUTS]

    return LoadedEngine(run)


def compile_openvino(
    engine_dir: Path, precision: Precision, *, threads: int = 0, with_logits: bool = False
) -> openvino.CompiledModel:
    """Compiles for the CPU; `with_logits` makes the network's logits one more output, named LOGITS."""
    model = openvino.Core().read_model(engine_dir / build_openvino.MODEL_NAME)
    if with_logits:
        model.add_outputs(build_torch.LOGITS)
    return compile_for_cpu(model, precision, threads)


def cpu_has_bf16() -> bool:
    """Whether OpenVINO computes in bfloat16 on this CPU; elsewhere it runs the same model in float32."""
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def open_torch(engine_dir: Path, frame_size: tuple[int, int]) -> LoadedEngine:
    """The program compiled ahead of time where there is one and a GPU, else the portable one."""
    compiled = engine_dir / build_torch.COMPILED_NAME
    if torch.cuda.is_available() and compiled.exists():
        return open_compiled(compiled, frame_size)
    return run_eagerly(torch.export.load(engine_dir / build_torch.PROGRAM_NAME).module())


def open_onnx(path: Path) -> LoadedEngine:
    """The ONNX graph in onnxruntime on the CPU: shows that the graph is right before TensorRT gets it."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(inputs: Arrays) -> Arrays:
        feeds = {spec.name: array for spec, array in zip(INPUTS, inputs, strict=True)}
        return session.run([spec.name for spec in OUTPUTS], feeds)

    return LoadedEngine(run)
