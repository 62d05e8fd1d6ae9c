"""The graph as ONNX: what TensorRT builds its plan from."""

import warnings
from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper

from adaptation.learning.export.build_torch import LOGITS, WithLogits, traced
from adaptation.learning.export.graph import FrameGraph
from exchange.contract import INPUTS, OUTPUTS

MODEL_NAME = "model.onnx"
OPSET = 18  # 17 brought LayerNormalization as one operation
LOW_PRECISIONS = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
IN_FLOAT32 = ("LayerNormalization", "Softmax", "InstanceNormalization", "GroupNormalization")
"""Their sums overflow in float16, and the labels become one class."""


def build_onnx(graph: FrameGraph, path: Path) -> None:
    """Writes an ONNX file, checked by onnx; the logits have the name LOGITS in it, and are no output.

    A network in a lower precision keeps it, but for normalisations and softmax, which compute in float32.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's, about itself
        program = torch.onnx.export(
            traced(WithLogits(graph), graph),
            input_names=[spec.name for spec in INPUTS],
            output_names=[*(spec.name for spec in OUTPUTS), LOGITS],
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch's ONNX exporter gave no program")
    model = program.model_proto
    keep_in_float32(model)
    del model.graph.output[-1]
    onnx.save(model, path)
    onnx.checker.check_model(path, full_check=True)


def keep_in_float32(model: onnx.ModelProto) -> None:
    """Puts each `IN_FLOAT32` operation of a lower precision between casts to float32 and back, in place."""
    values = [*model.graph.input, *model.graph.value_info, *model.graph.output]
    kinds = {value.name: value.type.tensor_type.elem_type for value in values}
    kinds |= {weight.name: weight.data_type for weight in model.graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        kind = kinds.get(node.output[0])
        if node.op_type not in IN_FLOAT32 or kind not in LOW_PRECISIONS:
            nodes.append(node)
            continue
        output = node.output[0]
        for index, name in enumerate(node.input):
            if kinds.get(name) in LOW_PRECISIONS:
                node.input[index] = f"{output}.input{index}"
                nodes.append(helper.make_node("Cast", [name], [node.input[index]], to=TensorProto.FLOAT))
        node.output[0] = f"{output}.float32"
        nodes += [node, helper.make_node("Cast", [node.output[0]], [output], to=kind)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
