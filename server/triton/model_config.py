"""Triton's model configuration, as one frozen dataclass: the file on disk and the override of a load come from it."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2

from exchange.contract import INPUTS, OUTPUTS
from exchange.registry.releases import Manifest
from server.triton.tensors import CONFIG_TYPE, MODEL_NAME, shape_of


@dataclass(frozen=True)
class ModelConfig:
    """How Triton runs the segmenter.

    There is no `dynamic_batching` with its queue bounds: under a queue policy the batcher of Triton 2.51 misses
    wake-ups, and frames of a 4 ms model then take 0.5 to 2 s (measured; without one, none do). What waits in Triton is
    bounded by who sends: a transport has a few frames in flight and refuses the next.

    `host` is the Python backend (OpenVINO and torch engines). `tensorrt` is Triton's own TensorRT backend, which only
    NVIDIA's container has; it wants the frame size spelled out, so all its versions must share one. No machine with a
    GPU has loaded that configuration yet.
    """

    versions: tuple[int, ...] = ()
    backend: Literal["host", "tensorrt"] = "host"
    frame_size: tuple[int, int] = (-1, -1)
    """Rows and columns of FRAME; -1 leaves it to each version's engine."""
    threads: int = 0
    """Cores for one inference of the host alone; 0 means all."""
    frames_at_once: int = 1
    """Processes of the host, each of which computes one frame at a time (`server.triton.engine_turns`)."""

    def for_engine(self, manifest: Manifest) -> "ModelConfig":
        if manifest.engine == "tensorrt":
            return replace(self, backend="tensorrt", frame_size=manifest.frame_size)
        return replace(self, backend="host", frame_size=(-1, -1))

    def for_versions(self, versions: Iterable[int]) -> "ModelConfig":
        return replace(self, versions=tuple(sorted(versions)))

    def to_pbtxt(self) -> str:
        """The content of config.pbtxt."""
        return text_format.MessageToString(self._message())

    def to_json(self) -> str:
        """The override that goes with a load request."""
        return json.dumps(json_format.MessageToDict(self._message(), preserving_proto_field_name=True))

    def _message(self) -> model_config_pb2.ModelConfig:
        message = model_config_pb2.ModelConfig(name=MODEL_NAME, max_batch_size=0)
        if self.backend == "host":
            message.backend = "python"
            message.default_model_filename = "model.py"
            message.parameters["threads"].string_value = str(self.threads)
            message.instance_group.add(count=self.frames_at_once, kind=model_config_pb2.ModelInstanceGroup.KIND_CPU)
        else:
            message.platform = "tensorrt_plan"
            message.default_model_filename = "model.plan"
            message.instance_group.add(count=1, kind=model_config_pb2.ModelInstanceGroup.KIND_GPU)
        message.version_policy.specific.versions.extend(self.versions)
        for tensors, messages in ((INPUTS, message.input), (OUTPUTS, message.output)):
            for tensor in tensors:
                dims = shape_of(tensor, self.frame_size)
                messages.add(name=tensor.name, data_type=CONFIG_TYPE[tensor.dtype], dims=dims)
        return message
