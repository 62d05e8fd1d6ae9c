"""Class-conditional adversarial alignment of features, the ground on which priors may be adjusted.

Source: "Classes Matter: A Fine-grained Adversarial Approach to Cross-domain Semantic Segmentation" (FADA, Wang et
al., ECCV 2020). The discriminator tells (domain, class) pairs apart: channel k is source class k, channel K + k target
class k. As in the authors' code, the targets on the source too are the network's own softened predictions, not
labels, and the clipped ones are not normalised again.

The authors' values: temperature 1.8 (the segmentation loss is taken on logits / 1.8 as well), clip 0.9, adversarial
weight 0.001, discriminator Adam 1e-4 with betas (0.9, 0.99).
"""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ADVERSARIAL_WEIGHT = 0.001
DISCRIMINATOR_BETAS = (0.9, 0.99)
DRAWS_PER_EPOCH = 3000


class ClassDiscriminator(nn.Module):
    """Features [N, in_channels, h, w] to logits over (domain, class), float [N, 2K, H, W]."""

    def __init__(self, in_channels: int = 2048, num_classes: int = 19, hidden: int = 256) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(in_channels, hidden, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(hidden, hidden // 2, 3, padding=1),
            nn.LeakyReLU(0.2),
        )
        self.source_head = nn.Conv2d(hidden // 2, num_classes, 3, padding=1)
        self.target_head = nn.Conv2d(hidden // 2, num_classes, 3, padding=1)

    def forward(self, features_NDhw: Tensor, size: tuple[int, int]) -> Tensor:
        """Logits resized to `size` (H, W), that of the soft targets."""
        trunk = self.trunk(features_NDhw)
        logits = torch.cat([self.source_head(trunk), self.target_head(trunk)], dim=1)
        return F.interpolate(logits, size=size, mode="bilinear", align_corners=True)


def soften(logits_NCHW: Tensor, temperature: float = 1.8, clip: float = 0.9) -> Tensor:
    """The discriminator's targets: softmax(logits / temperature) cut at `clip`, without gradient."""
    return (logits_NCHW.detach() / temperature).softmax(dim=1).clamp(max=clip)


def adversarial_loss(
    target_domain_logits_N2KHW: Tensor, target_soft_NKHW: Tensor, weight: float = ADVERSARIAL_WEIGHT
) -> Tensor:
    """For the encoder: target features should be taken for source features of the same class."""
    num_classes = target_soft_NKHW.shape[1]
    return weight * _soft_cross_entropy(target_domain_logits_N2KHW, target_soft_NKHW, slice(None, num_classes))


def discriminator_loss(
    source_domain_logits_N2KHW: Tensor,
    source_soft_NKHW: Tensor,
    target_domain_logits_N2KHW: Tensor,
    target_soft_NKHW: Tensor,
) -> Tensor:
    """For the discriminator, on detached features: half the loss of each domain. Starts near ln 2K."""
    num_classes = source_soft_NKHW.shape[1]
    source = _soft_cross_entropy(source_domain_logits_N2KHW, source_soft_NKHW, slice(None, num_classes))
    target = _soft_cross_entropy(target_domain_logits_N2KHW, target_soft_NKHW, slice(num_classes, None))
    return 0.5 * (source + target)


def _soft_cross_entropy(domain_logits_N2KHW: Tensor, soft_NKHW: Tensor, channels: slice) -> Tensor:
    """-sum over classes of target * log softmax over all 2K channels, averaged over every pixel."""
    log_probabilities = domain_logits_N2KHW.log_softmax(dim=1)[:, channels]
    return -(soft_NKHW * log_probabilities).sum(dim=1).mean()


def polynomial_rate(base_rate: float, iteration: int, iterations: int, power: float = 0.9) -> float:
    """The learning rate of FADA, Undoing UDA, CPSL and RIPU: base * (1 - iteration / iterations) ** 0.9."""
    return base_rate * (1 - iteration / iterations) ** power


def balanced_class_weights(presence_share_C: Tensor) -> Tensor:
    """FADA's odds of the class to draw next, from each class's share among the presences drawn so far; sums to 1."""
    weights_C = 1 / (1.01 + presence_share_C.double()).log()
    return weights_C / weights_C.sum()


def class_balanced_images(
    classes_of_image: Sequence[Sequence[int]], num_classes: int, generator: torch.Generator
) -> Iterator[int]:
    """FADA's order of source images, without end: images of rare classes come up more often.

    Draws a class, then the next image of that class's shuffled list (shuffled anew each time it runs out), and counts
    all classes of that image. The counts start again after 3000 draws. Classes that no image holds are never drawn.

    Args:
        classes_of_image: for each image, the train ids that it holds.

    Raises:
        ValueError: no image holds any class.
    """
    images_of_class: list[list[int]] = [[] for _ in range(num_classes)]
    for image, classes in enumerate(classes_of_image):
        for train_id in classes:
            images_of_class[train_id].append(image)
    occurs_C = torch.tensor([bool(images) for images in images_of_class], dtype=torch.float64)
    if not occurs_C.any():
        raise ValueError("no image holds any class: check the labels' ids")
    upcoming: list[list[int]] = [[] for _ in range(num_classes)]
    while True:
        presences_C = torch.zeros(num_classes, dtype=torch.float64)
        for _ in range(DRAWS_PER_EPOCH):
            weights_C = balanced_class_weights(presences_C / presences_C.sum().clamp(min=1)) * occurs_C
            train_id = int(torch.multinomial(weights_C, 1, generator=generator))
            if not upcoming[train_id]:
                images = images_of_class[train_id]
                upcoming[train_id] = [images[i] for i in torch.randperm(len(images), generator=generator)]
            image = upcoming[train_id].pop()
            presences_C[list(classes_of_image[image])] += 1
            yield image
