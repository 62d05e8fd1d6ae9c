"""The teacher: an average of the student's weights over time (Tarvainen and Valpola, NeurIPS 2017)."""

import torch
from torch import Tensor, nn

from adaptation.learning.networks.hrda import HRDA, FusedMaps
from adaptation.learning.networks.layers import DropPath, resized
from adaptation.learning.networks.windows import Size

_NOISE = (nn.Dropout, nn.Dropout2d, DropPath)


class MeanTeacher(nn.Module):
    """A network whose parameters follow the student's, as DAFormer's and HRDA's code does it.

    Parameters only: batch-norm statistics are neither copied nor averaged. The teacher labels in train mode but for
    dropout and stochastic depth, so batch norm uses the statistics of the very batch and updates its own; with
    `frozen_statistics` it uses those it came with (small crops say too little). The number of updates is part of the
    state, so a resumed run goes on (the authors' starts the teacher anew).
    """

    updates: Tensor

    def __init__(self, network: HRDA, decay: float = 0.999, *, frozen_statistics: bool = False) -> None:
        """Takes over `network`, built apart from the student; the first update gives it the student's parameters."""
        super().__init__()
        self.network = network.requires_grad_(False)
        self.decay = decay
        self._in_eval_mode = (*_NOISE, nn.BatchNorm2d) if frozen_statistics else _NOISE
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update(self, student: nn.Module) -> None:
        """One step towards the student; called at the start of each iteration, before its optimizer step."""
        keep = teacher_alpha(int(self.updates), self.decay)
        for own, followed in zip(self.network.parameters(), student.parameters(), strict=True):
            own.mul_(keep).add_(followed, alpha=1 - keep)
        self.updates += 1

    def logits(self, images_N3HW: Tensor, detail_crop: Size) -> Tensor:
        """Full-size logits of `fused`."""
        return resized(self.fused(images_N3HW, detail_crop).logits_NKHW, images_N3HW.shape[-2:])

    @torch.no_grad()
    def fused(self, images_N3HW: Tensor, detail_crop: Size, *, with_embedding: bool = False) -> FusedMaps:
        """Maps at the head's stride, all detail windows (overlapping by half) in one batch, for batch norm's sake."""
        self.network.train()
        for module in self.network.modules():
            if isinstance(module, self._in_eval_mode):
                module.eval()
        half = (detail_crop[0] // 2, detail_crop[1] // 2)
        return self.network.fused(images_N3HW, detail_crop, half, with_embedding=with_embedding)


def teacher_alpha(iteration: int, decay: float = 0.999) -> float:
    """Share of the teacher that stays: min(1 - 1 / (iteration + 1), decay); 0 at iteration 0."""
    return min(1 - 1 / (iteration + 1), decay)
