"""Triton's Python-backend host: loads the engine of the release in this version folder and hands it the tensors.

It computes nothing itself: the engine's graph takes FRAME, LOG_PRIOR_RATIO and VALID_HW and gives LABEL, CONFIDENCE,
PRESENCE and MEAN_PROBABILITY. It imports numpy, the engine's own package and nothing of roadshift, so that the folder
also works in a container that holds no more than these.

    <version>/model.py      this file
    <version>/engine.json   {"engine": "openvino" | "torch", "precision": "fp32" | "bf16" | "fp16"}
    <version>/engine/       the release's engine files

Config parameter `threads`: how many cores one inference may use; 0 means all. Where the config has several instances,
a request whose parameter `alone` is false gets that part of them that each has when all instances compute at once.
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

INPUTS = ("FRAME", "LOG_PRIOR_RATIO", "VALID_HW")
OUTPUTS = ("LABEL", "CONFIDENCE", "PRESENCE", "MEAN_PROBABILITY")

Engine = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]
Engines = dict[bool, Engine]
"""The same engine for a frame that computes alone (True), and for one beside those of the other instances."""


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        if int(np.__version__.split(".")[0]) >= 2:
            raise RuntimeError(f"numpy {np.__version__}: this Triton sends empty tensors with it; install numpy<2")
        version_dir = Path(args["model_repository"]) / args["model_version"]
        description = json.loads((version_dir / "engine.json").read_text())
        config = json.loads(args["model_config"])
        load = {"openvino": load_openvino, "torch": load_torch}[description["engine"]]
        self._engines = load(
            version_dir / "engine",
            description["precision"],
            int(config["parameters"]["threads"]["string_value"]),
            config["instance_group"][0]["count"],
        )

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        inputs = {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in INPUTS}
        alone = json.loads(request.parameters() or "{}").get("alone", True)
        try:
            outputs = self._engines[alone](inputs)
        except Exception as error:
            message = f"the engine failed on a frame of {inputs['FRAME'].shape}: {error}"
            return pb_utils.InferenceResponse([], pb_utils.TritonError(message))
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, outputs[name]) for name in OUTPUTS])


def load_openvino(engine_dir: Path, precision: str, threads: int, instances: int) -> Engines:
    import openvino

    settings = {
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}[precision],
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,  # to OpenVINO, too, 0 means all
    }
    core = openvino.Core()
    alone = core.compile_model(engine_dir / "model.xml", "CPU", settings)
    if instances == 1:
        return dict.fromkeys((True, False), warm_openvino(alone))
    settings["INFERENCE_NUM_THREADS"] = max(1, alone.get_property("INFERENCE_NUM_THREADS") // instances)
    settings["ENABLE_CPU_PINNING"] = False  # each process would pin its threads to the same, the first cores
    beside = core.compile_model(engine_dir / "model.xml", "CPU", settings)
    return {True: warm_openvino(alone), False: warm_openvino(beside)}


def warm_openvino(compiled: Any) -> Engine:
    """The first inference takes twice as long as the others: here, nobody waits for it."""
    request = compiled.create_infer_request()
    request.infer([np.ones(port.shape, port.element_type.to_dtype()) for port in compiled.inputs])

    def run(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        request.infer(inputs, share_inputs=True)
        return {name: request.get_tensor(name).data for name in OUTPUTS}

    return run


def load_torch(engine_dir: Path, precision: str, threads: int, instances: int) -> Engines:
    import torch  # the exported program carries its precision in its own graph

    cores = threads or torch.get_num_threads()
    compiled = engine_dir / "compiled.pt2"
    on_gpu = compiled.exists() and torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    if on_gpu:
        module = torch._inductor.aoti_load_package(str(compiled))
    else:
        module = torch.export.load(engine_dir / "model.pt2").module()

    def run(inputs: dict[str, np.ndarray], threads: int) -> dict[str, np.ndarray]:
        torch.set_num_threads(threads)
        with torch.inference_mode():
            outputs = module(*(torch.from_numpy(inputs[name]).to(device) for name in INPUTS))
            return {name: tensor.cpu().numpy() for name, tensor in zip(OUTPUTS, outputs, strict=True)}

    return {True: partial(run, threads=cores), False: partial(run, threads=max(1, cores // instances))}
