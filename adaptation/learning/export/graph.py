"""The one graph that turns a frame into the contract's outputs: normalisation, windows, network, fusion, outputs."""

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from adaptation.learning.export.outputs import Outputs, PlainOutputs, TiledOutputs
from adaptation.learning.networks.frame_sizes import check_sizes
from adaptation.learning.networks.hrda import HRDA
from adaptation.learning.networks.normalization import MEAN_RGB, STD_RGB
from adaptation.learning.networks.pointwise_before_upsampling import with_pointwise_first
from adaptation.learning.networks.windows import Size, nested_windows
from exchange.networks import WindowConfig


class FrameGraph(nn.Module):
    """FRAME, LOG_PRIOR_RATIO, VALID_HW -> LABEL, CONFIDENCE, PRESENCE, MEAN_PROBABILITY (`exchange.contract`).

    Batch 1, static shapes. Logits leave the network in float32 whatever its precision, so that the outputs are
    computed in float32. `tiled` chooses the outputs that suit CPU engines, for frames of whole cells of the head; both
    compute the same.
    """

    mean_13HW: Tensor
    inverse_std_13HW: Tensor

    def __init__(
        self, network: HRDA, frame_size: Size, windows: WindowConfig, *, tiled: bool, window_batch: int | None = None
    ) -> None:
        super().__init__()
        check_sizes(network, frame_size, windows)
        self.network = network
        self.frame_size = frame_size
        self.window_batch = window_batch
        self.nested = nested_windows(
            frame_size, windows.outer_crop, windows.outer_stride, windows.detail_crop, windows.detail_stride
        )
        whole_cells = not any(side % network.stride for side in frame_size)
        make_outputs = TiledOutputs if tiled and whole_cells else PlainOutputs
        self.outputs = make_outputs(frame_size, network.stride, self.nested.outer)
        self.register_buffer("mean_13HW", torch.tensor(MEAN_RGB).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("inverse_std_13HW", 1.0 / torch.tensor(STD_RGB).view(1, 3, 1, 1), persistent=False)
        self.eval()

    @property
    def device(self) -> torch.device:
        return self.mean_13HW.device

    def fused(self, frame_HW3: Tensor) -> Tensor:
        """Logits float32 [outer windows, K, h, w] at the head's stride."""
        # By way of a matrix: OpenVINO moves a transposition of the image itself on to where it cannot compile it.
        pixels_13HW = frame_HW3.flatten(0, 1).t().reshape(1, 3, *self.frame_size).float()
        image_13HW = (pixels_13HW - self.mean_13HW) * self.inverse_std_13HW
        image_13HW = image_13HW.to(next(self.network.parameters()).dtype)
        return self.network.fuse_windows(image_13HW, self.nested, window_batch=self.window_batch).logits_NKHW.float()

    def forward(self, frame_HW3: Tensor, log_prior_ratio_K: Tensor, valid_hw: Tensor) -> Outputs:
        return self.outputs(self.fused(frame_HW3), log_prior_ratio_K, valid_hw)


def reference_graph(network: HRDA, frame_size: Size, windows: WindowConfig) -> FrameGraph:
    """The plain graph: what every engine is compared with."""
    return FrameGraph(network, frame_size, windows, tiled=False)


def for_inference(network: HRDA, dtype: torch.dtype = torch.float32) -> HRDA:
    """A copy that computes the same in fewer operations: 1x1 convolutions before upsampling, batch norms folded."""
    network = with_pointwise_first(network)
    for module in network.modules():
        conv, norm = getattr(module, "conv", None), getattr(module, "bn", None)
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            module.conv, module.bn = fuse_conv_bn_eval(conv, norm), nn.Identity()
    return network.to(dtype)
