"""The logits inside an engine, which it does not give out: parity holds them, too, against the reference's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import fx

from adaptation.learning.export.build_torch import LOGITS, PROGRAM_NAME
from adaptation.learning.export.engines import compile_openvino
from adaptation.learning.export.loaded_engine import Arrays
from exchange.contract import INPUTS
from exchange.label_space import NUM_CLASSES
from exchange.registry.releases import Manifest, Precision

LogitsOf = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""From a frame to the outer windows' logits [N, K, h, w]."""


def logits_inside(engine_dir: Path, manifest: Manifest) -> LogitsOf | None:
    """None for TensorRT: a plan keeps only its outputs; its ONNX graph shows them."""
    if manifest.engine == "openvino":
        return _openvino_logits(engine_dir, manifest.precision)
    if manifest.engine == "torch":
        return _torch_logits(engine_dir)
    return None


def onnx_logits(path: Path) -> LogitsOf:
    import onnxruntime

    model = onnx.load(path)
    model.graph.output.append(onnx.helper.make_tensor_value_info(LOGITS, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    def run(frame_HW3: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.asarray(session.run([LOGITS], _feeds(frame_HW3))[0])

    return run


def _openvino_logits(engine_dir: Path, precision: Precision) -> LogitsOf:
    request = compile_openvino(engine_dir, precision, with_logits=True).create_infer_request()

    def run(frame_HW3: NDArray[np.uint8]) -> NDArray[np.float32]:
        request.infer(_feeds(frame_HW3))
        return np.array(request.get_tensor(LOGITS).data)

    return run


def _torch_logits(engine_dir: Path) -> LogitsOf:
    """From the portable program; the compiled one holds the same graph."""
    module = torch.export.load(engine_dir / PROGRAM_NAME).module()
    output = next(node for node in module.graph.nodes if node.op == "output")
    # In the first output's place, for the program's form of its outputs is fixed.
    output.args = ((_logits_node(module.graph), *output.args[0][1:]),)
    module.recompile()
    device = next(module.parameters()).device

    @torch.inference_mode()
    def run(frame_HW3: NDArray[np.uint8]) -> NDArray[np.float32]:
        return module(*(torch.from_numpy(array).to(device) for array in _feeds(frame_HW3).values()))[0].cpu().numpy()

    return run


def _logits_node(graph: fx.Graph) -> fx.Node:
    """What the module `FrameGraph.outputs` takes from another computation."""
    of_outputs = [node for node in graph.nodes if _is_of_outputs(node)]
    taken = (argument for node in of_outputs for argument in node.all_input_nodes)
    return next(node for node in taken if node.op == "call_function" and not _is_of_outputs(node))


def _is_of_outputs(node: fx.Node) -> bool:
    return any(name == "outputs" for name, _ in node.meta.get("nn_module_stack", {}).values())


def _feeds(frame_HW3: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    arrays: Arrays = (frame_HW3, np.zeros(NUM_CLASSES, np.float32), np.array(frame_HW3.shape[:2], np.int32))
    return {spec.name: array for spec, array in zip(INPUTS, arrays, strict=True)}
