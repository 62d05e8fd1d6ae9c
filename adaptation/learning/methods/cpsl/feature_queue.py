"""A bank of recent pixels, so that self-labels are balanced over many frames at once."""

import torch
from torch import Tensor, nn

from exchange.label_space import IGNORE_ID


class FeatureQueue(nn.Module):
    """The newest `capacity` rows of `channels` values each, with their labels; state lives in buffers.

    Rows and labels stay together (the released code shuffles one and not the other). Order is that of storage, which
    none of the losses depend on.
    """

    features_QD: Tensor
    labels_Q: Tensor
    pushed: Tensor

    def __init__(self, capacity: int, channels: int) -> None:
        super().__init__()
        self.register_buffer("features_QD", torch.zeros(capacity, channels))
        self.register_buffer("labels_Q", torch.full((capacity,), IGNORE_ID, dtype=torch.int64))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.int64))

    @property
    def full(self) -> bool:
        """Whether every row is filled; the authors use a queue from then on only."""
        return int(self.pushed) >= len(self.features_QD)

    @torch.no_grad()
    def push(self, features_BD: Tensor, labels_B: Tensor | None = None) -> None:
        """Puts rows in the place of the oldest ones; of more rows than fit, the last count."""
        rows = min(len(features_BD), len(self.features_QD))
        first = int(self.pushed) % len(self.features_QD)
        places_B = (torch.arange(rows, device=self.features_QD.device) + first) % len(self.features_QD)
        newest = slice(len(features_BD) - rows, None)
        self.features_QD[places_B] = features_BD[newest].to(self.features_QD.dtype)
        self.labels_Q[places_B] = IGNORE_ID if labels_B is None else labels_B[newest].long()
        self.pushed += rows

    def filled(self) -> tuple[Tensor, Tensor]:
        """The rows pushed so far, [F, D], and their labels, int64 [F]."""
        count = min(int(self.pushed), len(self.features_QD))
        return self.features_QD[:count], self.labels_Q[:count]
