"""Protobuf of the KServe v2 inference protocol to what the handlers speak of, and back."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2 as pb

from exchange.images.frames import ImageFormat
from exchange.label_space import NUM_CLASSES
from exchange.plain_words import shown
from server.errors import InvalidRequest, NotFound
from server.frames.frames import AnswerOptions, EncodedFrame, FrameAnswer, FrameRequest, MapEncoding
from server.gateway.converters import checked_id

MODEL_NAME = "segmenter"
_FRAME, _RATIO = "FRAME", "LOG_PRIOR_RATIO"
_LARGEST_RATIO = 1000.0
"""Any class is ruled out, or sure, long before."""
_PARAMETERS = ("domain", "vehicle_id", "drive_id")
_IGNORED_PARAMETERS = ("priority", "timeout")
"""What tritonclient sends for arguments of its own; the order here is by fairness, the time by the call's deadline."""
_OUTPUTS = {
    "LABEL": ("UINT8", (-1, -1)),
    "CONFIDENCE": ("UINT8", (-1, -1)),
    "PRESENCE": ("FP32", (NUM_CLASSES,)),
    "MEAN_PROBABILITY": ("FP32", (NUM_CLASSES,)),
}
_INPUTS = {_FRAME: ("UINT8", (-1, -1, 3)), _RATIO: ("FP32", (NUM_CLASSES,))}
_NUMPY_TYPE: dict[str, np.dtype[Any]] = {"UINT8": np.dtype(np.uint8), "FP32": np.dtype("<f4")}


def frame_request(message: pb.ModelInferRequest, peer: str, deadline: float | None) -> FrameRequest:
    """One frame's request: FRAME, and LOG_PRIOR_RATIO or the parameter `domain`.

    Raises:
        InvalidRequest: an input or parameter that is not understood.
        NotFound: another model, or a version that is no number.
    """
    check_model(message.model_name)
    _requested_outputs(message)
    checked_id("id", message.id)
    inputs = _inputs(message)
    if _FRAME not in inputs:
        raise InvalidRequest("the input FRAME is missing: send UINT8 of shape [height, width, 3]")
    frame_HW3 = inputs[_FRAME]
    parameters = _parameters(message)
    return FrameRequest(
        frame=EncodedFrame(frame_HW3.tobytes(), ImageFormat.RGB8, (frame_HW3.shape[0], frame_HW3.shape[1])),
        vehicle=checked_id("vehicle_id", parameters.get("vehicle_id", "")) or peer,
        drive=checked_id("drive_id", parameters.get("drive_id", "")),
        domain=parameters.get("domain", ""),
        options=AnswerOptions(labels=MapEncoding.RAW, confidence=MapEncoding.RAW),
        deadline=deadline,
        version=parse_version(message.model_version),
        log_prior_ratio_K=_finite(inputs.get(_RATIO)),
    )


def parse_version(version: str) -> int | None:
    """The version asked for; None leaves the choice to the serving plan.

    Raises:
        NotFound: not a number.
    """
    if not version:
        return None
    if not version.isdecimal() or len(version) > 9:
        raise NotFound(f"no version {shown(version)}: versions are numbers; name none to get the one that serves")
    return int(version)


def check_model(name: str) -> None:
    """Raises NotFound for another model than the one that is served."""
    if name != MODEL_NAME:
        raise NotFound(f"no model {shown(name)} here: ask for {MODEL_NAME!r}")


def _requested_outputs(message: pb.ModelInferRequest) -> list[str]:
    names = [output.name for output in message.outputs] or list(_OUTPUTS)
    for output in message.outputs:
        if output.name not in _OUTPUTS:
            raise InvalidRequest(f"no output {shown(output.name)}: ask for some of {', '.join(_OUTPUTS)}")
        if names.count(output.name) > 1:
            raise InvalidRequest(f"output {output.name} is asked for twice: name each output once")
        if output.parameters:
            raise InvalidRequest(f"output {output.name} has parameters, which are not served: send none")
    return names


def infer_response(message: pb.ModelInferRequest, answer: FrameAnswer) -> pb.ModelInferResponse:
    """The outputs that a request, already read, asks for."""
    response = pb.ModelInferResponse(model_name=MODEL_NAME, model_version=str(answer.route.version), id=message.id)
    response.parameters["domain"].string_param = answer.route.domain
    response.parameters["prior_id"].string_param = answer.route.prior_id
    if answer.confidence is None:
        raise ValueError("an answer without confidence map")
    values = {
        "LABEL": (answer.labels.data, answer.labels.size_hw),
        "CONFIDENCE": (answer.confidence.data, answer.confidence.size_hw),
        "PRESENCE": (_float_bytes(answer.presence_K), (NUM_CLASSES,)),
        "MEAN_PROBABILITY": (_float_bytes(answer.mean_probability_K), (NUM_CLASSES,)),
    }
    for name in _requested_outputs(message):
        data, shape = values[name]
        response.outputs.add(name=name, datatype=_OUTPUTS[name][0], shape=shape)
        response.raw_output_contents.append(data)
    return response


def model_metadata(versions: list[int]) -> pb.ModelMetadataResponse:
    tensor = pb.ModelMetadataResponse.TensorMetadata
    return pb.ModelMetadataResponse(
        name=MODEL_NAME,
        versions=[str(version) for version in versions],
        platform="roadshift",
        inputs=[tensor(name=name, datatype=kind, shape=shape) for name, (kind, shape) in _INPUTS.items()],
        outputs=[tensor(name=name, datatype=kind, shape=shape) for name, (kind, shape) in _OUTPUTS.items()],
    )


def _inputs(message: pb.ModelInferRequest) -> dict[str, NDArray[Any]]:
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        raise InvalidRequest(f"{len(message.inputs)} inputs with {len(raw)} raw contents: send one for each")
    if len(message.inputs) > len(_INPUTS):
        raise InvalidRequest(f"{len(message.inputs)} inputs: send FRAME and, if need be, LOG_PRIOR_RATIO, each once")
    return {tensor.name: _array(tensor, raw[index] if raw else None) for index, tensor in enumerate(message.inputs)}


def _array(tensor: pb.ModelInferRequest.InferInputTensor, raw: bytes | None) -> NDArray[Any]:
    if tensor.name not in _INPUTS:
        raise InvalidRequest(f"no input {shown(tensor.name)}: send FRAME and, if need be, LOG_PRIOR_RATIO")
    kind, expected = _INPUTS[tensor.name]
    shape = tuple(tensor.shape)
    fits = len(shape) == len(expected) and all(e in (-1, s) and s > 0 for s, e in zip(shape, expected, strict=True))
    if tensor.datatype != kind or not fits:
        given = tensor.datatype if tensor.datatype in _NUMPY_TYPE else shown(tensor.datatype)
        raise InvalidRequest(
            f"input {tensor.name} is {given} {shown(list(shape))}: send {kind} {list(expected)}, -1 for any size"
        )
    if tensor.parameters:
        raise InvalidRequest(f"input {tensor.name} has parameters, such as a shared memory region: send the bytes")
    if raw is None:
        typed = tensor.contents.uint_contents if kind == "UINT8" else tensor.contents.fp32_contents
        if kind == "UINT8" and max(typed, default=0) > 255:
            raise InvalidRequest(f"input {tensor.name} has values over 255: send UINT8")
        raw = np.fromiter(typed, dtype=_NUMPY_TYPE[kind], count=len(typed)).tobytes()
    if len(raw) != math.prod(shape) * _NUMPY_TYPE[kind].itemsize:
        raise InvalidRequest(f"input {tensor.name} of shape {shown(list(shape))} has {len(raw)} bytes: send all of it")
    return np.frombuffer(raw, dtype=_NUMPY_TYPE[kind]).reshape(shape)


def _finite(ratio_K: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
    if ratio_K is not None and not np.isfinite(ratio_K).all():
        raise InvalidRequest("LOG_PRIOR_RATIO has values that are not finite: floor the prior before its logarithm")
    if ratio_K is not None and np.abs(ratio_K).max() > _LARGEST_RATIO:
        raise InvalidRequest(f"LOG_PRIOR_RATIO has values beyond +-{_LARGEST_RATIO:g}: floor the prior")
    return ratio_K


def _parameters(message: pb.ModelInferRequest) -> dict[str, str]:
    given = {name: value for name, value in message.parameters.items() if name not in _IGNORED_PARAMETERS}
    for name, value in given.items():
        if name not in _PARAMETERS:
            raise InvalidRequest(f"unknown parameter {shown(name)}: send some of {', '.join(_PARAMETERS)}")
        if value.WhichOneof("parameter_choice") not in ("string_param", None):
            raise InvalidRequest(f"parameter {name} is not a string: send it as string_param")
    return {name: value.string_param for name, value in given.items()}


def _float_bytes(values_K: NDArray[np.float32]) -> bytes:
    return values_K.astype("<f4").tobytes()
