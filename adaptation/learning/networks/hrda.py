"""Build HRDA over any encoder and head, and the loss it is trained by."""

from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from adaptation.learning.networks.daformer import DAFormerAttention, DAFormerHead
from adaptation.learning.networks.deeplabv2 import DeepLabV2Head
from adaptation.learning.networks.efficientnet_lite import EfficientNetLite0
from adaptation.learning.networks.fused_maps import FusedMaps, HRDALogits
from adaptation.learning.networks.layers import Head, resized
from adaptation.learning.networks.light_head import LightAttention, LightHead
from adaptation.learning.networks.mix_transformer import MIX_TRANSFORMERS, MixTransformer, MixTransformerSizes
from adaptation.learning.networks.modified_aspp import DenseAttention, ModifiedASPPHead
from adaptation.learning.networks.resnet import ResNet
from adaptation.learning.networks.scale_fusion import HRDA
from exchange.label_space import IGNORE_ID
from exchange.networks import NetworkConfig

__all__ = ["HRDA", "FusedMaps", "HRDALogits", "HRDALoss", "build_hrda", "build_network", "cross_entropy", "hrda_loss"]

DEFAULT_CHANNELS = {"daformer": (256, 256), "modified_aspp": (256, 32), "light": (64, 32)}
"""Widths of head and scale attention, for the heads that have one."""


def build_network(config: NetworkConfig, *, drop_path: float = 0.1, dropout: float = 0.1) -> HRDA:
    """Build the network that a config describes, with random weights."""
    return build_hrda(
        config.encoder,
        config.head,
        config.num_classes,
        detail=config.detail,
        drop_path=drop_path,
        dropout=dropout,
        **config.dims,
    )


def build_hrda(
    encoder: str,
    head: str,
    num_classes: int = 19,
    *,
    detail: bool = True,
    drop_path: float = 0.1,
    dropout: float = 0.1,
    **dims: int | tuple[int, ...],
) -> HRDA:
    """Build HRDA (or, with `detail=False`, its context branch alone) with random weights.

    `encoder` and `head` are names of `exchange.networks`. `dims` are, where they differ from the published sizes:
    `channels` and `attention_channels` (head and scale attention; not for `deeplabv2`), `embed_dims`, `num_heads`,
    `depths`, `sr_ratios` (all needed by `mit_custom`), `depths` and `base_channels` (`resnet101_v1c`),
    `context_divisor` (with `detail=False`: 2 reads the frame at half resolution, 1 at full resolution).
    Stochastic depth applies to encoders that have it, dropout to the heads; neither acts in eval mode.

    Raises:
        ValueError: an unknown name, a size that the encoder or head does not have, or sizes that do not fit together.
    """
    sizes: dict[str, Any] = dict(dims)
    context_divisor = sizes.pop("context_divisor", 2)
    if context_divisor not in ((2,) if detail else (1, 2)):
        raise ValueError(f"context_divisor={context_divisor}: it is 2, or with detail=False 1 or 2")
    backbone = _encoder(encoder, drop_path, sizes)
    head_module, attention = _head(head, backbone, num_classes, dropout, detail, sizes)
    if sizes:
        raise ValueError(f"encoder {encoder!r} with head {head!r} has no sizes named {', '.join(sorted(sizes))}")
    return HRDA(backbone, head_module, attention, context_divisor)


def _encoder(name: str, drop_path: float, dims: dict[str, Any]) -> nn.Module:
    if name in MIX_TRANSFORMERS:
        return MixTransformer(MIX_TRANSFORMERS[name], drop_path)
    if name == "mit_custom":
        return MixTransformer(_mix_transformer_sizes(dims), drop_path)
    if name == "resnet101_v1c":
        if not _one_per_stage(dims.get("depths", (1, 1, 1, 1))):
            raise ValueError("resnet101_v1c needs four depths, one per stage")
        return ResNet(**{key: dims.pop(key) for key in ("depths", "base_channels") if key in dims})
    if name == "efficientnet_lite0":
        return EfficientNetLite0(drop_path)
    raise ValueError(f"no encoder {name!r}; use mit_b0 .. mit_b5, mit_custom, resnet101_v1c or efficientnet_lite0")


def _one_per_stage(sizes: Any) -> bool:
    return isinstance(sizes, tuple | list) and len(sizes) == 4


def _mix_transformer_sizes(dims: dict[str, Any]) -> MixTransformerSizes:
    missing = [field for field in MixTransformerSizes._fields if not _one_per_stage(dims.get(field))]
    if missing:
        raise ValueError(f"mit_custom needs four numbers, one per stage, for {', '.join(missing)}")
    sizes = MixTransformerSizes(*(tuple(dims.pop(field)) for field in MixTransformerSizes._fields))
    if any(dim % heads for dim, heads in zip(sizes.embed_dims, sizes.num_heads, strict=True)):
        raise ValueError(f"embed_dims {sizes.embed_dims} must be multiples of num_heads {sizes.num_heads}")
    return sizes


def _head(
    name: str, encoder: Any, num_classes: int, dropout: float, detail: bool, dims: dict[str, Any]
) -> tuple[Head, nn.Module | None]:
    inputs, strides = encoder.channels, encoder.strides
    channels = attention_channels = 0
    if name in DEFAULT_CHANNELS:
        channels, attention_channels = DEFAULT_CHANNELS[name]
        channels = dims.pop("channels", channels)
        attention_channels = dims.pop("attention_channels", attention_channels) if detail else attention_channels
    head: Head
    attention: nn.Module
    match name:
        case "daformer":
            head = DAFormerHead(inputs, num_classes, channels, dropout)
            attention = DAFormerAttention(inputs, num_classes, attention_channels, dropout)
        case "light":
            head = LightHead(inputs, num_classes, channels, dropout)
            attention = LightAttention(inputs, num_classes, attention_channels)
        case "modified_aspp":
            head = ModifiedASPPHead(inputs, strides, num_classes, channels, dropout)
            attention = DenseAttention(inputs, strides, num_classes, attention_channels)
        case "deeplabv2":
            head = DeepLabV2Head(inputs, strides, num_classes)
            attention = DeepLabV2Head(inputs, strides, num_classes)
        case _:
            raise ValueError(f"no head {name!r}; use {', '.join(DEFAULT_CHANNELS)} or deeplabv2")
    return head, attention if detail else None


class HRDALoss(NamedTuple):
    """The sum to minimise and its weighted parts (`None` where a part has no weight)."""

    total: Tensor
    fused: Tensor
    context: Tensor | None
    detail: Tensor | None


def hrda_loss(
    logits: HRDALogits,
    labels_NHW: Tensor,
    weight_NHW: Tensor | None = None,
    *,
    detail_weight: float = 0.1,
    context_weight: float = 0.0,
) -> HRDALoss:
    """Cross entropy of the fused logits, the detail crop and, if weighted, the context (HRDA, equation 9).

    `labels_NHW` are full-size train ids (int64) with 255 ignored; `weight_NHW` multiplies each pixel's loss. Every mean
    is over all pixels, ignored ones too, as the authors' code has it. The fused logits get what weight is left of 1;
    a network without detail branch gives all of it to them.
    """
    parts: dict[str, Tensor] = {}
    if logits.detail_NKHW is None or logits.detail_box is None:
        detail_weight = context_weight = 0.0
    elif detail_weight > 0:
        box = logits.detail_box
        cropped_weight = None if weight_NHW is None else box.crop(weight_NHW)
        parts["detail"] = detail_weight * cross_entropy(logits.detail_NKHW, box.crop(labels_NHW), cropped_weight)
    if context_weight > 0:
        parts["context"] = context_weight * cross_entropy(logits.context_NKHW, labels_NHW, weight_NHW)
    fused_weight = 1 - detail_weight - context_weight
    fused = fused_weight * cross_entropy(logits.fused_NKHW, labels_NHW, weight_NHW)
    total = sum(parts.values(), fused)
    return HRDALoss(total, fused, parts.get("context"), parts.get("detail"))


def cross_entropy(logits_NKHW: Tensor, labels_NHW: Tensor, weight_NHW: Tensor | None = None) -> Tensor:
    """Weighted cross entropy of the enlarged logits, averaged over ALL pixels; those labelled 255 count as zero."""
    full = resized(logits_NKHW, labels_NHW.shape[-2:])
    loss_NHW = F.cross_entropy(full, labels_NHW, ignore_index=IGNORE_ID, reduction="none")
    if weight_NHW is not None:
        loss_NHW = loss_NHW * weight_NHW
    return loss_NHW.mean()
