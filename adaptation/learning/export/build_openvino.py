"""The graph as an OpenVINO model; its precision is chosen when it is compiled."""

import warnings
from pathlib import Path

import openvino

from adaptation.learning.export.build_torch import LOGITS, WithLogits, traced
from adaptation.learning.export.graph import FrameGraph
from exchange.contract import INPUTS, OUTPUTS
from exchange.label_space import NUM_CLASSES
from exchange.registry.releases import Precision

MODEL_NAME = "model.xml"


def build_openvino(graph: FrameGraph, engine_dir: Path, precision: Precision) -> None:
    """Writes model.xml and model.bin: with float16 weights for fp16, which take half the space, else with float32.

    The tensor LOGITS is inside, and no output until `compile_openvino` makes it one.
    """
    program = traced(WithLogits(graph), graph)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's, about itself
        model = openvino.convert_model(program)
    names = [spec.name for spec in (*INPUTS, *OUTPUTS)]
    for port, name in zip([*model.inputs, *model.outputs], [*names, LOGITS], strict=True):
        port.get_tensor().set_names({name})
        port.get_node().set_friendly_name(name)
    model.reshape({spec.name: spec.shape(graph.frame_size, NUM_CLASSES) for spec in INPUTS})  # VALID_HW's is lost
    model.remove_result(model.get_results()[-1])
    openvino.save_model(model, engine_dir / MODEL_NAME, compress_to_fp16=precision == "fp16")
