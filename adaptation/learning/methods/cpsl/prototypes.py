"""Class prototypes: the mean feature of each class, and how much a pixel resembles each.

Source: CPSL (Li et al., CVPR 2022) on top of ProDA (Zhang et al., CVPR 2021).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEWEST_PIXELS = 10
LARGEST_COUNT = 3000
_PLAIN_MEANS = 100


class Prototypes(nn.Module):
    """Running mean of per-image class means, counts capped at 3000 (from there an average with momentum 1/3001).

    With `momentum` the mean is plain for a class's first 100 images and exponential afterwards (the authors' other
    mode, 1e-4). Images in which a class has fewer than 10 pixels do not count for it. State lives in buffers:
    `vectors_CD` float32 and `counts_C`.
    """

    vectors_CD: Tensor
    counts_C: Tensor

    def __init__(self, num_classes: int, channels: int, momentum: float | None = None) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("vectors_CD", torch.zeros(num_classes, channels))
        self.register_buffer("counts_C", torch.zeros(num_classes))

    @torch.no_grad()
    def update(self, features_NDhw: Tensor, classes_Nhw: Tensor) -> None:
        """Takes in a batch of features and the class of each cell; cells of no class (255) are left out."""
        for features_Dhw, classes_hw in zip(features_NDhw.float(), classes_Nhw, strict=True):
            for train_id in classes_hw.unique().tolist():
                cells_hw = classes_hw == train_id
                if train_id < len(self.counts_C) and int(cells_hw.sum()) >= FEWEST_PIXELS:
                    self._take(train_id, features_Dhw[:, cells_hw].mean(dim=1))

    def normalized(self) -> Tensor:
        """L2-normalised prototypes [C, D]; a class never seen stays at zero, so that it resembles nothing."""
        return F.normalize(self.vectors_CD, dim=1)

    def _take(self, train_id: int, mean_D: Tensor) -> None:
        if not mean_D.isfinite().all():
            return
        count = float(self.counts_C[train_id])
        weight = 1 / (count + 1) if self.momentum is None or count < _PLAIN_MEANS else self.momentum
        self.vectors_CD[train_id].lerp_(mean_D, weight)
        self.counts_C[train_id] = min(count + 1, LARGEST_COUNT)


def cosine_scores(features_NDhw: Tensor, prototypes_CD: Tensor) -> Tensor:
    """Cosine between each cell's feature and each prototype, [N, C, h, w]; 0 for a zero prototype."""
    return torch.einsum("ndhw,cd->nchw", F.normalize(features_NDhw, dim=1), F.normalize(prototypes_CD, dim=1))


def prototype_weights(features_NDhw: Tensor, prototypes_CD: Tensor, temperature: float = 0.08) -> Tensor:
    """P_SL, the self-labelling distribution: softmax over classes of cosine / temperature, [N, C, h, w]."""
    return (cosine_scores(features_NDhw, prototypes_CD) / temperature).softmax(dim=1)
