"""Prototypes that check the teacher's word, and learn from class-balanced self-labels (CPSL, Li et al., CVPR 2022)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adaptation.learning.methods.cpsl import (
    FeatureQueue,
    Prototypes,
    class_balanced_pixels,
    class_shares,
    prototype_weights,
    self_labeling_loss,
    self_labels,
    update_marginal,
)
from adaptation.learning.networks.hrda import FusedMaps
from adaptation.learning.networks.layers import resized
from adaptation.learning.training.processes import ALONE, Processes
from exchange.jobs.recipes import SelfLabelingConfig
from exchange.label_space import NUM_CLASSES


class SelfLabeler(nn.Module):
    """Gives pseudo-labels by P_SL x P_ST; its only parameter is the prototypes, trained by `loss`."""

    average_CD: Tensor
    trusted_C: Tensor
    marginal_C: Tensor

    def __init__(self, config: SelfLabelingConfig, channels: int) -> None:
        super().__init__()
        self.config = config
        self.prototypes_CD = nn.Parameter(torch.zeros(NUM_CLASSES, channels))
        self.queue = FeatureQueue(config.queue_pixels, channels)
        self.register_buffer("average_CD", torch.zeros(NUM_CLASSES, channels))
        self.register_buffer("trusted_C", torch.zeros(NUM_CLASSES, dtype=torch.bool))
        self.register_buffer("marginal_C", torch.zeros(NUM_CLASSES, dtype=torch.float64))

    @torch.no_grad()
    def begin(self, prototypes: Prototypes, shares_C: Tensor) -> None:
        """Starts from class means over target frames, and the classes' shares of their labels."""
        self.prototypes_CD.copy_(prototypes.normalized())
        self.average_CD.copy_(self.prototypes_CD)
        self.trusted_C.copy_(prototypes.counts_C >= self.config.fewest_frames)
        self.marginal_C.copy_(shares_C)

    @torch.no_grad()
    def logits(self, teacher: FusedMaps, size: tuple[int, int]) -> Tensor:
        """Full-size logits of P_SL x P_ST: the product as a sum of logarithms, enlarged as logits are."""
        weights_NChw = prototype_weights(embedding_of(teacher), self.average_CD)
        trusted_C11 = self.trusted_C.view(-1, 1, 1)
        weights_NChw = torch.where(trusted_C11, weights_NChw, 1 / NUM_CLASSES)
        return resized(teacher.logits_NKHW.log_softmax(dim=1) + weights_NChw.log(), size)

    def loss(
        self,
        teacher: FusedMaps,
        logits_NCHW: Tensor,
        generators: Sequence[torch.Generator],
        processes: Processes = ALONE,
    ) -> Tensor:
        """L_SL, weighted: balanced over classes within each image, and by the marginal over the queue.

        Until the queue is full, the batch's own shares stand for the marginal. Pixels are drawn with each image's own
        generator and gathered, so that every process has the loss, the queue and the marginal of the whole batch.
        """
        embedding_NDhw = embedding_of(teacher)
        labels_Nhw = resized(logits_NCHW, embedding_NDhw.shape[-2:]).argmax(dim=1).cpu()
        pixels_BD = torch.cat([
            self._draw(*image) for image in zip(embedding_NDhw, labels_Nhw, generators, strict=True)
        ])  # fmt: skip
        pixels_BD = processes.gathered(pixels_BD)
        labels_Nhw = processes.gathered(labels_Nhw.to(pixels_BD.device))
        shares_C = class_shares(labels_Nhw, NUM_CLASSES).to(self.marginal_C.device)
        marginal_C, queue_scores_QC = shares_C, None
        prototypes_CD = F.normalize(self.prototypes_CD, dim=1)
        if self.queue.full:
            self.marginal_C.copy_(update_marginal(self.marginal_C, shares_C, self.config.marginal_momentum))
            marginal_C, queue_scores_QC = self.marginal_C, self.queue.filled()[0] @ prototypes_CD.T
        scores_BC = pixels_BD @ prototypes_CD.T
        balanced_BC = self_labels(scores_BC, queue_scores_QC, marginal_C)
        self.queue.push(pixels_BD)
        return self.config.loss_weight * self_labeling_loss(scores_BC, balanced_BC)

    @torch.no_grad()
    def follow(self) -> None:
        """Moves the averaged prototypes, which the labels use, towards the learned ones."""
        self.average_CD.lerp_(self.prototypes_CD, 1 - self.config.average_decay)

    def _draw(self, maps_Dhw: Tensor, labels_hw: Tensor, generator: torch.Generator) -> Tensor:
        shares_C = class_shares(labels_hw, NUM_CLASSES)
        places = class_balanced_pixels(labels_hw.flatten(), shares_C, self.config.pixels_per_image, generator)
        return F.normalize(maps_Dhw.flatten(1)[:, places.to(maps_Dhw.device)].T, dim=1)


def embedding_of(maps: FusedMaps) -> Tensor:
    """The head's penultimate maps, [N, D, h, w]. Raises ValueError if they were not asked for."""
    if maps.embedding_NDHW is None:
        raise ValueError("self-labelling reads the head's embedding: ask for it (with_embedding=True)")
    return maps.embedding_NDHW
