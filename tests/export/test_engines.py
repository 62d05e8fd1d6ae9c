"""Each builder's engine computes what the plain torch graph does."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from adaptation.learning.export.build_onnx import IN_FLOAT32, OPSET, build_onnx, keep_in_float32
from adaptation.learning.export.build_openvino import build_openvino
from adaptation.learning.export.build_tensorrt import TensorRTError, build_tensorrt
from adaptation.learning.export.build_torch import LOGITS, build_torch
from adaptation.learning.export.engines import compile_openvino, open_onnx, open_openvino, open_torch
from adaptation.learning.export.graph import FrameGraph, for_inference, reference_graph
from adaptation.learning.export.loaded_engine import FrameOutputs, run_eagerly
from adaptation.learning.networks.hrda import HRDA
from exchange.contract import INPUTS, OUTPUTS
from exchange.label_space import NUM_CLASSES
from exchange.networks import NetworkConfig, WindowConfig, whole_frame_windows

SIZE = (64, 128)
WHOLE = whole_frame_windows(SIZE)
TWO_WINDOWS = WindowConfig(outer_crop=(64, 64), outer_stride=(64, 64), detail_crop=(32, 32), detail_stride=(32, 32))
BuildNetwork = Callable[[str], tuple[NetworkConfig, HRDA]]
Inputs = Callable[[tuple[int, int]], dict[str, Any]]


def assert_same(ours: FrameOutputs, reference: FrameOutputs) -> None:
    assert len(np.unique(reference.label_HW)) > 2
    assert np.mean(ours.label_HW == reference.label_HW) >= 0.9999
    assert np.abs(ours.confidence_HW.astype(int) - reference.confidence_HW).max() <= 1
    np.testing.assert_allclose(ours.presence_K, reference.presence_K, atol=1e-5)
    np.testing.assert_allclose(ours.mean_probability_K, reference.mean_probability_K, atol=1e-5)


def test_openvino(small_network: BuildNetwork, random_inputs: Inputs, tmp_path: Path) -> None:
    network = small_network("efficientnet, light, no detail")[1]
    build_openvino(FrameGraph(for_inference(network), SIZE, TWO_WINDOWS, tiled=True), tmp_path, "fp32")
    reference = reference_graph(network, SIZE, TWO_WINDOWS)
    inputs = random_inputs(SIZE)
    assert_same(
        open_openvino(tmp_path, "fp32", threads=1).infer(**inputs),
        run_eagerly(reference).infer(**inputs),
    )
    model = compile_openvino(tmp_path, "fp32", threads=1, with_logits=True)
    for port, spec in zip([*model.inputs, *model.outputs], [*INPUTS, *OUTPUTS], strict=False):
        assert port.any_name == spec.name
        assert tuple(port.shape) == spec.shape(SIZE, NUM_CLASSES)
        assert port.element_type.to_dtype() == spec.dtype
    arrays = [inputs["frame_HW3"], inputs["log_prior_ratio_K"], np.array(inputs["valid_hw"], np.int32)]
    with torch.inference_mode():
        logits = reference.fused(torch.from_numpy(inputs["frame_HW3"])).numpy()
    np.testing.assert_allclose(model(arrays)[LOGITS], logits, atol=1e-3)


def test_torch_needs_nothing_but_torch(small_network: BuildNetwork, random_inputs: Inputs, tmp_path: Path) -> None:
    network = small_network("mit, light")[1]
    build_torch(FrameGraph(for_inference(network), SIZE, WHOLE, tiled=True), tmp_path)
    inputs = random_inputs(SIZE)
    assert_same(
        open_torch(tmp_path, SIZE).infer(**inputs),
        run_eagerly(reference_graph(network, SIZE, WHOLE)).infer(**inputs),
    )
    host = (
        "import sys, torch; program = torch.export.load('model.pt2').module();"
        f"outputs = program(torch.zeros({SIZE[0]}, {SIZE[1]}, 3, dtype=torch.uint8), torch.zeros({NUM_CLASSES}),"
        f" torch.tensor({SIZE}, dtype=torch.int32));"
        "print([tuple(output.shape) for output in outputs], 'adaptation' in sys.modules)"
    )
    shapes = [spec.shape(SIZE, NUM_CLASSES) for spec in OUTPUTS]
    answer = subprocess.run([sys.executable, "-c", host], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == f"{shapes} False"


def test_outputs_of_a_network_in_bfloat16_are_computed_in_float32(
    small_network: BuildNetwork, random_inputs: Inputs
) -> None:
    network = small_network("mit, light")[1]
    low = FrameGraph(for_inference(network, torch.bfloat16), SIZE, WHOLE, tiled=True)
    ours, reference = (
        run_eagerly(graph).infer(**random_inputs(SIZE)) for graph in (low, reference_graph(network, SIZE, WHOLE))
    )
    assert np.mean(ours.label_HW == reference.label_HW) > 0.95
    np.testing.assert_allclose(ours.mean_probability_K.sum(), 1, atol=1e-5)


def test_onnx(small_network: BuildNetwork, random_inputs: Inputs, tmp_path: Path) -> None:
    network = small_network("mit, light")[1]
    path = tmp_path / "model.onnx"
    build_onnx(FrameGraph(for_inference(network), SIZE, WHOLE, tiled=False), path)
    model = onnx.load(path)
    assert {node.op_type for node in model.graph.node} >= {"LayerNormalization"}
    assert model.opset_import[0].version >= 17
    inputs = random_inputs(SIZE)
    assert_same(
        open_onnx(path).infer(**inputs),
        run_eagerly(reference_graph(network, SIZE, WHOLE)).infer(**inputs),
    )


def test_normalisations_and_softmax_of_a_float16_graph_run_in_float32() -> None:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT16, [2, 4]) for name in ("x", "y")]
    weights = [helper.make_tensor(name, TensorProto.FLOAT16, [4], [1.0] * 4) for name in ("scale", "shift")]
    nodes = [
        helper.make_node("LayerNormalization", ["x", "scale", "shift"], ["normal"], axis=-1),
        helper.make_node("Softmax", ["normal"], ["share"]),
        helper.make_node("Add", ["share", "share"], ["y"]),
    ]
    between = [helper.make_tensor_value_info(name, TensorProto.FLOAT16, [2, 4]) for name in ("normal", "share")]
    graph = helper.make_graph(nodes, "small", ends[:1], ends[1:], weights, value_info=between)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    x = np.array([[6e4, -6e4, 6e4, 0], [0, 1, 2, 3]], np.float16)  # the squares of the first row overflow float16
    with np.errstate(over="ignore"):
        assert np.isinf(x[0] ** 2).any()
    keep_in_float32(model)
    onnx.checker.check_model(model, full_check=True)
    kinds = {
        value.name: value.type.tensor_type.elem_type
        for value in onnx.shape_inference.infer_shapes(model).graph.value_info
    }
    assert all(kinds[node.output[0]] == TensorProto.FLOAT for node in model.graph.node if node.op_type in IN_FLOAT32)
    (y,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    tokens = torch.from_numpy(x).double()
    expected = 2 * (torch.nn.functional.layer_norm(tokens, (4,)) + 1).softmax(1)
    np.testing.assert_allclose(y, expected, atol=2e-3)


def test_without_tensorrt_the_builder_says_how_to_get_it(small_network: BuildNetwork, tmp_path: Path) -> None:
    try:
        import tensorrt
    except ImportError:
        tensorrt = None
    if hasattr(tensorrt, "__version__"):
        pytest.skip("TensorRT is installed here")
    graph = FrameGraph(small_network("mit, light")[1], SIZE, WHOLE, tiled=False)
    with pytest.raises(TensorRTError, match="pip install 'tensorrt>=10'"):
        build_tensorrt(graph, tmp_path)
    assert not list(tmp_path.iterdir())
