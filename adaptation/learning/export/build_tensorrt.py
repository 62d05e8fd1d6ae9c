"""TensorRT plans, built from the ONNX graph on the kind of GPU that will run them.

Not verified: no plan has been built with this code yet; it follows TensorRT 10's interface and is checked against its
type stubs. The network is strongly typed: every tensor has the precision that it has in the ONNX graph.
"""

from pathlib import Path
from types import ModuleType

from adaptation.learning.export.build_onnx import MODEL_NAME, build_onnx
from adaptation.learning.export.graph import FrameGraph

PLAN_NAME = "model.plan"
WORKSPACE_BYTES = 8 << 30
HOW_TO_INSTALL = (
    "TensorRT 10 or newer is needed for this engine and is not installed: on a machine with an NVIDIA GPU run"
    " `pip install 'tensorrt>=10'` (its libraries come from NVIDIA's package index), or work in NVIDIA's TensorRT or"
    " PyTorch container; elsewhere choose --engine openvino or --engine torch, or"
    " write the graph alone by --onnx FILE"
)


class TensorRTError(RuntimeError):
    """TensorRT is missing, or it refused the graph."""


def import_tensorrt() -> ModuleType:
    """TensorRT, loaded only when it is needed.

    Raises:
        TensorRTError: it is not installed (type stubs alone do not count), or is older than 10.
    """
    try:
        import tensorrt
    except ImportError as error:
        raise TensorRTError(f"{HOW_TO_INSTALL} ({error})") from error
    version = getattr(tensorrt, "__version__", None)
    if version is None or int(version.split(".")[0]) < 10:
        raise TensorRTError(f"{HOW_TO_INSTALL} (found {version or 'its type stubs alone'})")
    return tensorrt


def build_tensorrt(graph: FrameGraph, engine_dir: Path) -> None:
    """Writes model.onnx and model.plan.

    Raises:
        TensorRTError: TensorRT is missing or refuses the graph; the message holds its reasons.
    """
    import_tensorrt()
    onnx_path = engine_dir / MODEL_NAME
    build_onnx(graph, onnx_path)
    plan = build_plan(onnx_path)
    (engine_dir / PLAN_NAME).write_bytes(plan)


def build_plan(onnx_path: Path) -> bytes:
    """Builds a strongly typed engine from an ONNX file, for the GPU at hand."""
    import tensorrt as trt

    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(onnx_path)):
        reasons = "; ".join(str(parser.get_error(index)) for index in range(parser.num_errors))
        raise TensorRTError(f"TensorRT cannot read {onnx_path}: {reasons}")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise TensorRTError(f"TensorRT built no plan from {onnx_path}; its log above says why")
    return bytes(plan)
