"""Fewer operations must not change what the network computes."""

from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from adaptation.learning.networks.hrda import HRDA, build_hrda
from adaptation.learning.networks.pointwise_before_upsampling import with_pointwise_first
from exchange.networks import WindowConfig

WINDOWS = WindowConfig(outer_crop=(128, 128), outer_stride=(64, 64), detail_crop=(64, 64), detail_stride=(32, 32))


@torch.no_grad()
def test_the_logits_are_the_authors(tiny: HRDA, reference: Callable, images: Callable) -> None:
    arrays = reference("slide_128x256_c128_s64_hr64")
    logits = with_pointwise_first(tiny).forward_frame(images(arrays), WINDOWS)
    torch.testing.assert_close(logits[..., ::3, ::3], torch.from_numpy(arrays["logits"]), atol=3e-5, rtol=0)


def test_it_saves_operations_and_leaves_the_network_alone(tiny_dims: dict) -> None:
    with torch.device("meta"):
        plain = build_hrda("mit_custom", "daformer", **tiny_dims).eval()
        keys = list(plain.state_dict())
        totals = []
        for network in (plain, with_pointwise_first(plain)):
            with FlopCounterMode(display=False) as counter:
                network.forward_frame(torch.zeros(1, 3, 128, 256), WINDOWS)
            totals.append(counter.get_total_flops())
    assert totals[1] < 0.95 * totals[0]
    assert list(plain.state_dict()) == keys


@torch.no_grad()
def test_other_heads_stay_as_they_are() -> None:
    network = build_hrda("efficientnet_lite0", "light").eval()
    images = torch.rand(1, 3, 64, 64)
    same = with_pointwise_first(network).forward_whole(images, (32, 32), (16, 16))
    assert torch.equal(same, network.forward_whole(images, (32, 32), (16, 16)))
