"""One training step without target labels, as HRDA's code does it (Hoyer et al., ECCV 2022; DAFormer; DACS).

`draw_choices` makes every random decision, `self_training_step` is deterministic (but for dropout). Its parts are
public, so that a round can put other labels in the place of the teacher's or share quantities among processes.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adaptation.learning.data.detail_boxes import draw_detail_box
from adaptation.learning.methods.label_shift.adjustment import adjust
from adaptation.learning.methods.self_training.class_mix import choose_classes, class_masks, class_mix
from adaptation.learning.methods.self_training.feature_distance import feature_distance
from adaptation.learning.methods.self_training.mean_teacher import MeanTeacher
from adaptation.learning.methods.self_training.pseudo_labels import PseudoLabels, pseudo_label_weight, pseudo_labels
from adaptation.learning.methods.self_training.strong_augmentation import (
    StrongAugmentation,
    augment_strongly,
    augmentation_of,
    draw_strong_augmentation,
)
from adaptation.learning.networks.hrda import HRDA, HRDALogits, HRDALoss, hrda_loss
from adaptation.learning.networks.windows import Box, Size


@dataclass(frozen=True)
class SelfTrainingSettings:
    """The authors' values."""

    confidence: float = 0.968
    """Pixels at least this confident make up the weight of all pseudo-labels."""
    detail_weight: float = 0.1
    feature_distance_weight: float = 0.005


@dataclass(frozen=True)
class SelfTrainingBatch:
    """As many source as target images, normalised, all of one size, with the source's labels (255 ignored)."""

    source_N3HW: Tensor
    labels_NHW: Tensor
    target_N3HW: Tensor
    valid_NHW: Tensor | None = None
    """0 where the target image is not trusted (`inside_margins`, cut like the image)."""


@dataclass(frozen=True)
class StepChoices:
    """The random decisions of one step."""

    source_box: Box
    """The detail crop of the whole source batch, in pixels."""
    mixed_box: Box
    classes: list[Tensor]
    """For each sample, the ids whose pixels are pasted."""
    augmentation: StrongAugmentation


@dataclass(frozen=True)
class MixedBatch:
    images_N3HW: Tensor
    labels_NHW: Tensor
    weights_NHW: Tensor


@dataclass(frozen=True)
class StepResult:
    """Losses (weighted, without graph) and what the step trained on."""

    source: HRDALoss
    feature_distance: Tensor | None
    mixed: HRDALoss
    pseudo: PseudoLabels
    mixed_batch: MixedBatch


def draw_choices(labels_NHW: Tensor, detail_hw: Size, generator: torch.Generator) -> StepChoices:
    """Draws one step's decisions for a batch of source labels; `detail_hw` is the size of the detail crop in pixels."""
    rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
    height, width = labels_NHW.shape[-2:]
    source_box, mixed_box = (Box(*draw_detail_box(rng, (height, width), detail_hw)) for _ in range(2))
    return StepChoices(
        source_box=source_box,
        mixed_box=mixed_box,
        classes=choose_classes(labels_NHW, generator),
        augmentation=draw_strong_augmentation(len(labels_NHW), generator),
    )


def choices_of(choices: StepChoices, images: range) -> StepChoices:
    """The decisions for some images of the batch that they were drawn for."""
    classes = choices.classes[images.start : images.stop]
    return replace(choices, classes=classes, augmentation=augmentation_of(choices.augmentation, images))


def self_training_step(
    student: HRDA,
    teacher: MeanTeacher,
    reference_encoder: nn.Module | None,
    optimizer: torch.optim.Optimizer,
    batch: SelfTrainingBatch,
    choices: StepChoices,
    settings: SelfTrainingSettings = SelfTrainingSettings(),
) -> StepResult:
    """Teacher update, source loss, feature distance, pseudo-labels, mixed loss, one optimizer step on their sum.

    Args:
        reference_encoder: the frozen ImageNet encoder of the feature distance, in eval mode; None leaves it out.
    """
    teacher.update(student)
    optimizer.zero_grad()
    result = accumulate_gradients(student, teacher, reference_encoder, batch, choices, settings)
    optimizer.step()
    return result


def accumulate_gradients(
    student: HRDA,
    teacher: MeanTeacher,
    reference_encoder: nn.Module | None,
    batch: SelfTrainingBatch,
    choices: StepChoices,
    settings: SelfTrainingSettings,
) -> StepResult:
    """All of a step between the teacher's update and the optimizer's."""
    source, distance = source_losses(student, reference_encoder, batch, choices.source_box, settings)
    (source.total if distance is None else source.total + distance).backward()
    pseudo = pseudo_labels(teacher.logits(batch.target_N3HW, choices.mixed_box.size))
    weights_NHW = pseudo_label_weight(pseudo.confidence_NHW, settings.confidence, batch.valid_NHW)
    mixed_batch = mix(batch, pseudo.labels_NHW, weights_NHW, choices)
    logits = student.forward_train(mixed_batch.images_N3HW, choices.mixed_box)
    mixed = hrda_loss(logits, mixed_batch.labels_NHW, mixed_batch.weights_NHW, detail_weight=settings.detail_weight)
    mixed.total.backward()
    return StepResult(
        _without_graph(source),
        None if distance is None else distance.detach(),
        _without_graph(mixed),
        pseudo,
        mixed_batch,
    )


def source_losses(
    student: HRDA,
    reference_encoder: nn.Module | None,
    batch: SelfTrainingBatch,
    box: Box,
    settings: SelfTrainingSettings,
    offset_C: Tensor | None = None,
) -> tuple[HRDALoss, Tensor | None]:
    """The labelled loss on source images, and the weighted feature distance of their context.

    `offset_C`, added to the logits of the loss, is log P_source - log P_target where the plain outputs are to follow
    the target (classifier rectification).
    """
    logits = student.forward_train(batch.source_N3HW, box)
    return labelled_losses(student, logits, reference_encoder, batch, settings, offset_C)


def labelled_losses(
    student: HRDA,
    logits: HRDALogits,
    reference_encoder: nn.Module | None,
    batch: SelfTrainingBatch,
    settings: SelfTrainingSettings,
    offset_C: Tensor | None = None,
    temperature: float = 1.0,
) -> tuple[HRDALoss, Tensor | None]:
    """`source_losses` of a training forward that others read as well.

    Args:
        temperature: divides the logits of the loss before the offset; FADA's is 1.8.
    """
    if temperature != 1.0:
        logits = _mapped(logits, lambda each_NKHW: each_NKHW / temperature)
    if offset_C is not None:
        logits = _mapped(logits, lambda each_NKHW: adjust(each_NKHW, offset_C))
    loss = hrda_loss(logits, batch.labels_NHW.long(), detail_weight=settings.detail_weight)
    if reference_encoder is None:
        return loss, None
    with torch.no_grad():
        reference = reference_encoder(F.avg_pool2d(batch.source_N3HW, student.context_divisor))[-1]
    distance = feature_distance(logits.context_features[-1], reference, batch.labels_NHW)
    return loss, settings.feature_distance_weight * distance


def mix(batch: SelfTrainingBatch, labels_NHW: Tensor, weights_NHW: Tensor, choices: StepChoices) -> MixedBatch:
    """Pastes the chosen source classes, with weight 1, into the pseudo-labelled target images and augments those."""
    masks_NHW = class_masks(batch.labels_NHW, choices.classes)
    images_N3HW = class_mix(masks_NHW, batch.source_N3HW, batch.target_N3HW)
    return MixedBatch(
        images_N3HW=augment_strongly(images_N3HW, choices.augmentation),
        labels_NHW=class_mix(masks_NHW, batch.labels_NHW.long(), labels_NHW),
        weights_NHW=class_mix(masks_NHW, torch.ones_like(weights_NHW), weights_NHW),
    )


def _mapped(logits: HRDALogits, change: Callable[[Tensor], Tensor]) -> HRDALogits:
    detail_NKHW = None if logits.detail_NKHW is None else change(logits.detail_NKHW)
    return replace(logits, fused_NKHW=change(logits.fused_NKHW), detail_NKHW=detail_NKHW)


def _without_graph(loss: HRDALoss) -> HRDALoss:
    context, detail = (None if part is None else part.detach() for part in (loss.context, loss.detail))
    return HRDALoss(loss.total.detach(), loss.fused.detach(), context, detail)
