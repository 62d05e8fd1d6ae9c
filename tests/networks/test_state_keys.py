"""Keys, shapes, types and operations of the published networks, built without memory on the meta device."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from adaptation.learning.networks.hrda import HRDA, build_hrda

FOLDER = Path(__file__).parents[1] / "reference" / "hrda"
KEYS = json.loads((FOLDER / "keys.json").read_text())
FLOPS = json.loads((FOLDER / "flops.json").read_text())


def build(name: str, tiny_dims: dict) -> HRDA:
    with torch.device("meta"):
        match name:
            case "dlv2_r101v1c":
                return build_hrda("resnet101_v1c", "deeplabv2")
            case "dlv2_r50v1c_base8":
                return build_hrda("resnet101_v1c", "deeplabv2", depths=(3, 4, 6, 3), base_channels=8)
            case "mit_tiny":
                return build_hrda("mit_custom", "daformer", **tiny_dims)
            case _:
                return build_hrda(name, "daformer")


@pytest.mark.parametrize("name", KEYS)
def test_keys_shapes_and_types(name: str, tiny_dims: dict) -> None:
    network = build(name, tiny_dims)
    parameters = dict(network.named_parameters())
    ours = {
        key: [list(value.shape), str(value.dtype).removeprefix("torch."), "param" if key in parameters else "buffer"]
        for key, value in network.state_dict().items()
    }
    assert ours == KEYS[name]["keys"]
    assert sum(parameter.numel() for parameter in parameters.values()) == KEYS[name]["parameters"]


@pytest.mark.parametrize(("variant", "side"), [("b0", 512), ("b0", 256), ("b5", 256)])
def test_operations(variant: str, side: int, tiny_dims: dict) -> None:
    network = build(f"mit_{variant}", tiny_dims).eval()
    head = network.decode_head.head
    with FlopCounterMode(display=False) as encoder:
        features: list[Tensor] = network.backbone(torch.zeros(1, 3, side, side, device="meta"))
    with FlopCounterMode(display=False) as decoder:
        head.classify(head.embed(features))
    with FlopCounterMode(display=False) as attention:
        network.decode_head.scale_attention(features)
    counted = {"encoder": encoder, "head": decoder, "attention": attention}
    assert {part: counter.get_total_flops() for part, counter in counted.items()} == FLOPS[variant][str(side)]
