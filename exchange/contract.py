"""The tensor contract between a release's engine and whoever runs it.

An engine takes one frame and gives its labels; normalisation, windows, fusion, adjustment and argmax are inside. The
tensors go in and come out in the order listed here, by these names where the format has names. What a host does with
the folder `engine/` of a release:

    openvino   model.xml with model.bin beside it: compile it for the CPU with INFERENCE_PRECISION_HINT set to the
               manifest's precision (`OPENVINO_PRECISION`); a CPU without it computes in float32.
    torch      model.pt2: torch.export.load(model.pt2).module(), called with the three inputs, gives the tuple of the
               four outputs. Its precision is in its own graph. Where it was built on a GPU, compiled.pt2 lies beside
               it, compiled ahead of time for that kind of GPU: torch._inductor.aoti_load_package(compiled.pt2) is
               called in the same way, with tensors on the GPU.
    tensorrt   model.plan, for the kind of GPU and the TensorRT version that it was built with, its tensors named as
               here; model.onnx is what it was built from.
"""

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np


@dataclass(frozen=True)
class TensorSpec:
    """One tensor; `axes` are numbers, or H and W (rows and columns of the frame) or K (classes)."""

    name: str
    dtype: type[np.generic]
    axes: tuple[str | int, ...]

    def shape(self, frame_size: tuple[int, int], num_classes: int) -> tuple[int, ...]:
        sizes = {"H": frame_size[0], "W": frame_size[1], "K": num_classes}
        return tuple(sizes[axis] if isinstance(axis, str) else axis for axis in self.axes)


INPUTS = (
    TensorSpec("FRAME", np.uint8, ("H", "W", 3)),  # RGB
    TensorSpec("LOG_PRIOR_RATIO", np.float32, ("K",)),  # added to the logits; zeros switch adjustment off
    TensorSpec("VALID_HW", np.int32, (2,)),  # rows and columns, at least 1, that are frame and not padding
)
OUTPUTS = (
    TensorSpec("LABEL", np.uint8, ("H", "W")),  # train ids, after adjustment
    TensorSpec("CONFIDENCE", np.uint8, ("H", "W")),  # round(255 x highest probability), after adjustment
    TensorSpec("PRESENCE", np.float32, ("K",)),  # log mean exp(probability) before adjustment, over valid pixels
    TensorSpec("MEAN_PROBABILITY", np.float32, ("K",)),  # mean probability before adjustment, over valid pixels
)

OPENVINO_PRECISION = MappingProxyType({"fp32": "f32", "bf16": "bf16", "fp16": "f16"})
