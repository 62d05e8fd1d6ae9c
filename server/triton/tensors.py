"""The model contract as Triton's requests spell it."""

import math
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2, service_pb2

from exchange.contract import INPUTS, OUTPUTS, TensorSpec
from exchange.label_space import NUM_CLASSES
from server.segmenter import SegmenterOutput

MODEL_NAME = "segmenter"
"""The one model; its versions are the ledger's."""

Size = tuple[int, int]
"""Rows and columns of FRAME."""
Arrays = dict[str, NDArray[np.generic]]

ALONE = "alone"
"""Request parameter: false for a frame beside others, which gets its part of the cores; absent, it gets all."""

WIRE_TYPE = MappingProxyType({np.uint8: "UINT8", np.int32: "INT32", np.float32: "FP32"})
CONFIG_TYPE = MappingProxyType(
    {dtype: model_config_pb2.DataType.Value(f"TYPE_{name}") for dtype, name in WIRE_TYPE.items()}
)


def shape_of(tensor: TensorSpec, frame_size: Size) -> tuple[int, ...]:
    return tensor.shape(frame_size, NUM_CLASSES)


def size_bytes_of(tensor: TensorSpec, frame_size: Size) -> int:
    return math.prod(shape_of(tensor, frame_size)) * np.dtype(tensor.dtype).itemsize


def new_request(frame_size: Size) -> service_pb2.ModelInferRequest:
    """A request that names every input and output, without version and data."""
    request = service_pb2.ModelInferRequest(model_name=MODEL_NAME)
    for tensor in INPUTS:
        request.inputs.add(name=tensor.name, datatype=WIRE_TYPE[tensor.dtype], shape=shape_of(tensor, frame_size))
    for tensor in OUTPUTS:
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
