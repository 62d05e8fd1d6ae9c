"""Whole frames read by torch and by OpenVINO: the same logits."""

import numpy as np
import torch

from adaptation.learning.networks.frame_forward import FrameForward, is_worth_compiling
from adaptation.learning.networks.hrda import build_hrda
from exchange.networks import WindowConfig

CPU = torch.device("cpu")
SIZE = (64, 128)
SMALL = {
    "embed_dims": (8, 16, 24, 32),
    "num_heads": (1, 2, 3, 4),
    "depths": (1, 1, 1, 1),
    "sr_ratios": (8, 4, 2, 1),
}
WINDOWS = WindowConfig(outer_crop=(64, 64), outer_stride=(64, 32), detail_crop=(32, 32), detail_stride=(16, 16))


def test_a_compiled_network_reads_what_torch_reads() -> None:
    torch.manual_seed(0)
    network = build_hrda("mit_custom", "light", channels=16, attention_channels=8, **SMALL).eval()
    eager, compiled = (FrameForward(network, SIZE, WINDOWS, CPU, compiled=which) for which in (False, True))
    frames = np.random.default_rng(0).integers(0, 256, (2, *SIZE, 3), np.uint8)
    first, second = (compiled.logits(frame) for frame in frames)
    torch.testing.assert_close(first, eager.logits(frames[0]), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(second, eager.logits(frames[1]), atol=1e-4, rtol=1e-4)
    assert not torch.equal(first, second)


def test_few_or_small_frames_and_gpus_are_left_to_torch() -> None:
    assert is_worth_compiling(9, (512, 704), CPU)
    assert not is_worth_compiling(8, (512, 704), CPU)
    assert not is_worth_compiling(100, (64, 96), CPU)
    assert not is_worth_compiling(1000, (512, 1024), torch.device("cuda"))
