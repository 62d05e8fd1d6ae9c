"""A network's logits of whole frames: by torch, or compiled by OpenVINO where enough frames pay for it."""

import warnings
from typing import Any

import numpy as np
import openvino
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from adaptation.learning.networks.normalization import normalize
from adaptation.learning.networks.scale_fusion import HRDA
from adaptation.learning.networks.windows import Size
from exchange.contract import OPENVINO_PRECISION
from exchange.networks import WindowConfig
from exchange.registry.releases import Precision
from exchange.usable_cpus import threads_within_quota

_EAGER_PIXELS = 8 * 512 * 704
"""Pixels that torch reads in the time that compiling the starter takes."""


def compile_for_cpu(model: Any, precision: Precision, threads: int = 0) -> openvino.CompiledModel:
    """Return an OpenVINO model compiled for one inference at a time on `threads` cores; 0 means all that are usable."""
    settings = {
        "INFERENCE_PRECISION_HINT": OPENVINO_PRECISION[precision],
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads or threads_within_quota(),  # to OpenVINO, too, 0 means all
    }
    return openvino.Core().compile_model(model, "CPU", settings)


def is_worth_compiling(frames: int, frame_size: Size, device: torch.device) -> bool:
    """Return whether so many frames are read sooner by a compiled network; a GPU's is never compiled."""
    return device.type == "cpu" and frames * frame_size[0] * frame_size[1] > _EAGER_PIXELS


class FrameForward(nn.Module):
    """Reads frames of one size, one at a time; a network that is `compiled` must not change once it has read one."""

    def __init__(
        self, network: HRDA, frame_size: Size, windows: WindowConfig, device: torch.device, *, compiled: bool
    ) -> None:
        super().__init__()
        self.network, self.frame_size, self.windows, self.device = network, frame_size, windows, device
        self._request = self._compiled().create_infer_request() if compiled else None

    def forward(self, frame_1HW3: Tensor) -> Tensor:
        return self.network.forward_frame(normalize(frame_1HW3), self.windows)

    @torch.inference_mode()
    def logits(self, frame_HW3: NDArray[np.uint8]) -> Tensor:
        """Return logits float32 [1, K, H, W] of an RGB frame uint8 [H, W, 3] of the frame size, on the device."""
        if self._request is None:
            return self(torch.from_numpy(frame_HW3)[None].to(self.device))
        self._request.infer([frame_HW3[None]])
        return torch.from_numpy(self._request.get_output_tensor().data.copy())

    def _compiled(self) -> openvino.CompiledModel:
        black_1HW3 = torch.zeros(1, *self.frame_size, 3, dtype=torch.uint8)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch's, about itself
            return compile_for_cpu(openvino.convert_model(torch.export.export(self, (black_1HW3,))), "fp32")
