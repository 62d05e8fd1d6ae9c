"""An engine that a real Triton loads in a moment: the whole model contract as one small OpenVINO graph.

A pixel's class is the one whose gray value is nearest to its own, after a shift that is the release's.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from exchange.label_space import NUM_CLASSES

GRAY_OF_CLASS_K = np.linspace(0, 255, NUM_CLASSES, dtype=np.float32)
_SLOPE = np.float32(0.1)
"""By which a logit falls per gray level of distance."""


def logits_of(color: NDArray[np.uint8], shift: float) -> NDArray[np.float32]:
    """float32 [K], for a pixel's colour, uint8 [3]."""
    logits_K: NDArray[np.float32] = -_SLOPE * np.abs(color.astype(np.float32).mean() + shift - GRAY_OF_CLASS_K)
    return logits_K


def save_engine(path: Path, frame_size: tuple[int, int], shift: float) -> None:
    """Frames of exactly that size; statistics count what is frame and padding alike."""
    import openvino  # takes a second, and only Triton's runs need it
    import openvino.opset13 as ops

    frame = ops.parameter([*frame_size, 3], np.uint8, name="FRAME")
    log_prior_ratio = ops.parameter([NUM_CLASSES], np.float32, name="LOG_PRIOR_RATIO")
    valid_hw = ops.parameter([2], np.int32, name="VALID_HW")
    unused = ops.multiply(ops.convert(ops.reduce_max(valid_hw, np.array([0])), np.float32), np.float32(0))
    gray_HW1 = ops.reduce_mean(ops.convert(frame, np.float32), np.array([2]), keep_dims=True)
    distance_HWK = ops.abs(ops.subtract(ops.add(gray_HW1, np.float32(shift)), GRAY_OF_CLASS_K))
    logits_HWK = ops.add(ops.multiply(distance_HWK, -_SLOPE), unused)
    probability_HWK = ops.softmax(logits_HWK, 2)
    adjusted_HWK = ops.softmax(ops.add(logits_HWK, log_prior_ratio), 2)
    best = ops.topk(adjusted_HWK, np.int64(1), 2, "max", "none")
    confidence_HW = ops.round(ops.multiply(ops.squeeze(best.output(0), np.array([2])), np.float32(255)), "half_to_even")
    outputs = {
        "LABEL": ops.convert(ops.squeeze(best.output(1), np.array([2])), np.uint8),
        "CONFIDENCE": ops.convert(confidence_HW, np.uint8),
        "PRESENCE": ops.log(ops.reduce_mean(ops.exp(probability_HWK), np.array([0, 1]))),
        "MEAN_PROBABILITY": ops.reduce_mean(probability_HWK, np.array([0, 1])),
    }
    for parameter in (frame, log_prior_ratio, valid_hw):
        parameter.output(0).set_names({parameter.friendly_name})
    for name, node in outputs.items():
        node.output(0).set_names({name})
    model = openvino.Model([ops.result(node) for node in outputs.values()], [frame, log_prior_ratio, valid_hw])
    openvino.save_model(model, path, compress_to_fp16=False)
