"""What HRDA gives: in a training forward, and for frames."""

from dataclasses import dataclass

from torch import Tensor

from adaptation.learning.networks.windows import Box


@dataclass(frozen=True)
class HRDALogits:
    """What a training forward gives; K classes, maps at the head's stride unless said otherwise."""

    fused_NKHW: Tensor
    context_NKHW: Tensor
    """Logits of the context, already weighted by one minus the attention, at twice the stride."""
    context_features: list[Tensor]
    """The encoder's maps of the context, one per level."""
    detail_NKHW: Tensor | None = None
    detail_features: list[Tensor] | None = None
    detail_box: Box | None = None
    """Where the detail crop lies, in pixels."""
    embedding_NDHW: Tensor | None = None
    """The head's penultimate maps, fused like the logits; only on request."""


@dataclass(frozen=True)
class FusedMaps:
    """Logits and, on request, the head's penultimate maps, both at the head's stride."""

    logits_NKHW: Tensor
    embedding_NDHW: Tensor | None
