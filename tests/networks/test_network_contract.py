"""What every encoder with every head must do."""

from typing import Any, get_args

import pytest
import torch

from adaptation.learning.networks.hrda import HRDA, build_hrda, build_network, hrda_loss
from adaptation.learning.networks.windows import Box
from exchange.networks import Encoder, Head, NetworkConfig, WindowConfig

SMALL: dict[str, dict[str, Any]] = {
    "mit_custom": {
        "embed_dims": (8, 16, 24, 32),
        "num_heads": (1, 2, 3, 4),
        "depths": (1, 1, 1, 1),
        "sr_ratios": (8, 4, 2, 1),
    },
    "resnet101_v1c": {"depths": (1, 1, 1, 1), "base_channels": 8},
    "efficientnet_lite0": {},
}
HEADS = get_args(Head)
WINDOWS = WindowConfig(outer_crop=(64, 64), outer_stride=(64, 32), detail_crop=(48, 48), detail_stride=(16, 16))


def small(encoder: str, head: str, detail: bool) -> HRDA:
    torch.manual_seed(0)
    dims = dict(SMALL[encoder])
    if head != "deeplabv2":
        dims["channels"] = 16
        if detail:
            dims["attention_channels"] = 8
    return build_hrda(encoder, head, 5, detail=detail, **dims)


@pytest.fixture(
    params=[(e, h, d) for e in SMALL for h in HEADS for d in (True, False)], ids=lambda p: "-".join(map(str, p))
)
def network(request: pytest.FixtureRequest) -> HRDA:
    return small(*request.param)


def test_training_forward(network: HRDA) -> None:
    images = torch.rand(2, 3, 64, 96)
    logits = network.train().forward_train(images, Box(0, 48, 32, 80), with_embedding=True)
    fused_size = torch.Size([64 // network.stride, 96 // network.stride])
    assert logits.fused_NKHW.shape == (2, 5, *fused_size)
    assert logits.embedding_NDHW.shape[-2:] == fused_size
    assert len(logits.context_features) == 4
    if network.detail:
        assert logits.detail_NKHW.shape == (2, 5, 48 // network.stride, 48 // network.stride)
        assert logits.detail_box == Box(0, 48, 32, 80)
    else:
        assert logits.detail_NKHW is logits.detail_features is logits.detail_box is None
    labels = torch.randint(0, 5, (2, 64, 96))
    labels[:, :8] = 255
    loss = hrda_loss(logits, labels, torch.rand(2, 64, 96))
    loss.total.backward()
    assert torch.isfinite(loss.total)
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key


@torch.no_grad()
def test_inference_and_shared_windows(network: HRDA) -> None:
    images = torch.rand(1, 3, 64, 96)
    network.eval()
    whole = network.forward_whole(images, (48, 48), (16, 16))
    shared = network.forward_frame(images, WINDOWS)
    assert whole.shape == shared.shape == (1, 5, 64, 96)
    assert torch.isfinite(whole).all()
    torch.testing.assert_close(
        shared, network.forward_frame(images, WINDOWS, share_windows=False), atol=1e-6, rtol=1e-5
    )
    torch.testing.assert_close(shared, network.forward_frame(images, WINDOWS, window_batch=2), atol=1e-6, rtol=1e-5)


class Frame(torch.nn.Module):
    """The frame mode as a module, so that it can be exported."""

    def __init__(self, network: HRDA) -> None:
        super().__init__()
        self.network = network

    def forward(self, images_N3HW: torch.Tensor) -> torch.Tensor:
        return self.network.forward_frame(images_N3HW, WINDOWS)


@pytest.mark.parametrize(
    ("encoder", "head", "detail"),
    [
        *((encoder, "light", True) for encoder in SMALL),
        *(("mit_custom", head, True) for head in HEADS if head != "light"),
        ("mit_custom", "light", False),
    ],
)
@torch.no_grad()
def test_export(encoder: str, head: str, detail: bool) -> None:
    images = torch.rand(1, 3, 64, 80)
    frame = Frame(small(encoder, head, detail).eval()).eval()
    torch.testing.assert_close(torch.export.export(frame, (images,)).module()(images), frame(images))


@pytest.mark.parametrize("encoder", ["mit_b0", "resnet101_v1c", "efficientnet_lite0"])
@pytest.mark.parametrize("head", ["light", "modified_aspp"])
def test_published_sizes(encoder: Encoder, head: Head) -> None:
    with torch.device("meta"):
        network = build_network(NetworkConfig(encoder=encoder, head=head)).eval()
        logits = network.forward_whole(torch.zeros(1, 3, 128, 192), (64, 64), (64, 64))
    assert logits.shape == (1, 19, 128, 192)


@pytest.mark.parametrize(
    ("arguments", "dims", "remedy"),
    [
        (("mit_b6", "daformer"), {}, "use mit_b0"),
        (("mit_b0", "upernet"), {}, "use daformer"),
        (("mit_b0", "daformer"), {"depths": (1, 1, 1, 1)}, "no sizes named depths"),
        (("resnet101_v1c", "deeplabv2"), {"channels": 64}, "no sizes named channels"),
        (("mit_custom", "light"), {"embed_dims": (8, 16, 24, 32)}, "num_heads, depths, sr_ratios"),
        (("mit_custom", "light"), {**SMALL["mit_custom"], "num_heads": (1, 2, 5, 8)}, "multiples of num_heads"),
        (("mit_b0", "light"), {"context_divisor": 1}, "detail=False"),
        (("mit_b0", "light"), {"detail": False, "attention_channels": 8}, "no sizes named attention_channels"),
        (("resnet101_v1c", "light"), {"depths": 3}, "four depths"),
    ],
)
def test_what_cannot_be_built(arguments: tuple[str, str], dims: dict, remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy):
        build_hrda(*arguments, **dims)


@pytest.mark.parametrize("box", [None, Box(0, 32, 2, 34)])
def test_a_detail_box_must_lie_on_the_grid(box: Box | None) -> None:
    network = small("mit_custom", "light", True)
    with pytest.raises(ValueError, match="multiples of 4"):
        network.forward_train(torch.rand(1, 3, 64, 64), box)


@torch.no_grad()
def test_context_alone_reads_half_or_full_resolution() -> None:
    images = torch.rand(1, 3, 64, 96)
    for divisor in (1, 2):
        network = build_hrda(
            "mit_custom", "light", 5, detail=False, context_divisor=divisor, **SMALL["mit_custom"]
        ).eval()
        assert network.stride == network.size_multiple == 4 * divisor
        assert network.fused(images, (48, 48), (16, 16)).logits_NKHW.shape == (1, 5, 16 // divisor, 24 // divisor)


@pytest.mark.parametrize(
    ("size", "crop", "stride", "reason"),
    [((64, 100), (64, 64), (32, 32), "size_multiple"), ((64, 96), (50, 50), (32, 32), "does not fill its window")],
)
@torch.no_grad()
def test_sizes_off_the_grid_are_refused(
    size: tuple[int, int], crop: tuple[int, int], stride: tuple[int, int], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        small("mit_custom", "light", True).eval().forward_whole(torch.rand(1, 3, *size), crop, stride)
