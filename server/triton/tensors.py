"""The model contract as Triton's requests spell it, and where each tensor lies in a slot of shared memory."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2

from exchange.label_space import NUM_CLASSES
from server.segmenter import SegmenterOutput
from server.triton.model_config import MODEL_NAME

Size = tuple[int, int]
"""Rows and columns of FRAME."""
Arrays = dict[str, NDArray[np.generic]]

ALIGNMENT_BYTES = 64


@dataclass(frozen=True)
class Tensor:
    """One tensor of the contract for one frame size."""

    name: str
    dtype: type[np.generic]
    shape: tuple[int, ...]

    @property
    def triton_type(self) -> str:
        return {np.uint8: "UINT8", np.int32: "INT32", np.float32: "FP32"}[self.dtype]

    @property
    def size_bytes(self) -> int:
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize


def input_tensors(frame_size: Size) -> list[Tensor]:
    return [
        Tensor("FRAME", np.uint8, (*frame_size, 3)),
        Tensor("LOG_PRIOR_RATIO", np.float32, (NUM_CLASSES,)),
        Tensor("VALID_HW", np.int32, (2,)),
    ]


def output_tensors(frame_size: Size) -> list[Tensor]:
    return [
        Tensor("LABEL", np.uint8, frame_size),
        Tensor("CONFIDENCE", np.uint8, frame_size),
        Tensor("PRESENCE", np.float32, (NUM_CLASSES,)),
        Tensor("MEAN_PROBABILITY", np.float32, (NUM_CLASSES,)),
    ]


def new_request(frame_size: Size) -> service_pb2.ModelInferRequest:
    """A request that names every input and output, without version and data."""
    request = service_pb2.ModelInferRequest(model_name=MODEL_NAME)
    for tensor in input_tensors(frame_size):
        request.inputs.add(name=tensor.name, datatype=tensor.triton_type, shape=tensor.shape)
    for tensor in output_tensors(frame_size):
        request.outputs.add(name=tensor.name)
    return request


def inputs_of(frame_HW3: NDArray[np.uint8], log_prior_ratio_K: NDArray[np.float32], valid_hw: Size) -> Arrays:
    return {
        "FRAME": frame_HW3,
        "LOG_PRIOR_RATIO": log_prior_ratio_K.astype(np.float32, copy=False),
        "VALID_HW": np.array(valid_hw, np.int32),
    }


def output_of(arrays: Arrays) -> SegmenterOutput:
    """Copies the arrays: they may be views of a slot that the next frame overwrites."""
    return SegmenterOutput(
        labels_HW=arrays["LABEL"].astype(np.uint8),
        confidence_HW=arrays["CONFIDENCE"].astype(np.uint8),
        presence_K=arrays["PRESENCE"].astype(np.float32),
        mean_probability_K=arrays["MEAN_PROBABILITY"].astype(np.float32),
    )
