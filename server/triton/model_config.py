"""Triton's model configuration, as one frozen dataclass: the file on disk and the override of a load come from it."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2

from exchange.label_space import NUM_CLASSES
from exchange.releases import Manifest

MODEL_NAME = "segmenter"
"""The one model; its versions are the ledger's."""


@dataclass(frozen=True)
class ModelConfig:
    """How Triton runs the segmenter.

    `host` is the Python backend (OpenVINO and torch engines). `tensorrt` is Triton's own TensorRT backend, which only
    NVIDIA's container has; it wants the frame size spelled out, so all its versions must share one. No machine with a
    GPU has loaded that configuration yet.
    """

    versions: tuple[int, ...] = ()
    backend: Literal["host", "tensorrt"] = "host"
    frame_size: tuple[int, int] = (-1, -1)
    """Rows and columns of FRAME; -1 leaves it to each version's engine."""
    threads: int = 0
    """Cores for one inference of the host; 0 means all."""
    max_queue_size: int = 16
    """Requests that wait per version; more are refused. The gateway's admission is the first bound, this the last."""
    queue_timeout_s: float = 10.0

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
            message.instance_group.add(count=1, kind=model_config_pb2.ModelInstanceGroup.KIND_CPU)
        else:
            message.platform = "tensorrt_plan"
            message.default_model_filename = "model.plan"
            message.instance_group.add(count=1, kind=model_config_pb2.ModelInstanceGroup.KIND_GPU)
        message.version_policy.specific.versions.extend(self.versions)
        for tensor in self._inputs():
            message.input.add(**tensor)
        for tensor in self._outputs():
            message.output.add(**tensor)
        queue = message.dynamic_batching.default_queue_policy
        queue.max_queue_size = self.max_queue_size
        queue.timeout_action = model_config_pb2.ModelQueuePolicy.REJECT
        queue.default_timeout_microseconds = round(self.queue_timeout_s * 1e6)
        return message

    def _inputs(self) -> list[dict[str, object]]:
        return [
            {"name": "FRAME", "data_type": model_config_pb2.TYPE_UINT8, "dims": (*self.frame_size, 3)},
            {"name": "LOG_PRIOR_RATIO", "data_type": model_config_pb2.TYPE_FP32, "dims": (NUM_CLASSES,)},
            {"name": "VALID_HW", "data_type": model_config_pb2.TYPE_INT32, "dims": (2,)},
        ]

    def _outputs(self) -> list[dict[str, object]]:
        return [
            {"name": "LABEL", "data_type": model_config_pb2.TYPE_UINT8, "dims": self.frame_size},
            {"name": "CONFIDENCE", "data_type": model_config_pb2.TYPE_UINT8, "dims": self.frame_size},
            {"name": "PRESENCE", "data_type": model_config_pb2.TYPE_FP32, "dims": (NUM_CLASSES,)},
            {"name": "MEAN_PROBABILITY", "data_type": model_config_pb2.TYPE_FP32, "dims": (NUM_CLASSES,)},
        ]
