"""A round's self-training: HRDA's step with the round's own labels for the target and its own prior on the source."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from adaptation.learning.methods.self_training import (
    MeanTeacher,
    SelfTrainingBatch,
    SelfTrainingSettings,
    choices_of,
    confident_share,
    draw_choices,
    labelled_losses,
    mix,
    pseudo_labels,
    thing_cells,
)
from adaptation.learning.networks.efficientnet_lite import EfficientNetLite0
from adaptation.learning.networks.hrda import HRDA, HRDALoss, hrda_loss
from adaptation.learning.networks.layers import resized
from adaptation.learning.networks.normalization import normalize
from adaptation.learning.networks.windows import Box, Size
from adaptation.learning.rounds.alignment import Alignment, DomainView
from adaptation.learning.rounds.asked_losses import source_boundary_loss, target_losses
from adaptation.learning.rounds.crops import RoundCrops
from adaptation.learning.rounds.learning import Numbers, seed_of
from adaptation.learning.rounds.self_labeler import SelfLabeler
from adaptation.learning.rounds.shared_batch_norm import share_batch_norm
from adaptation.learning.training.optimization import gradients_of, parameter_groups, rate_factor, set_rates
from adaptation.learning.training.processes import ALONE, Processes
from adaptation.learning.training.start import freeze_first_stages, freeze_statistics
from exchange.jobs.recipes import RoundConfig, SelfTrainingConfig
from exchange.label_space import IGNORE_ID

CHOICES, PIXELS, DROPOUT, DISCRIMINATOR = range(4)
"""What is drawn at random, each from its own seed."""


class SelfTraining:
    """Student, teacher and, where the recipe has one, the self-labeller.

    Where the head was rectified before, the source's loss keeps the same offset, so that the student's plain outputs
    go on following the target's prior, and with them the teacher's labels: nothing else applies the prior.
    """

    def __init__(
        self,
        config: RoundConfig,
        settings: SelfTrainingConfig,
        network: HRDA,
        log_ratio_C: Tensor | None,
        self_labeler: SelfLabeler | None,
        iterations: int,
        seed: int,
        *,
        people_labelled: bool = False,
        processes: Processes = ALONE,
    ) -> None:
        self.config, self.settings, self.iterations, self.seed = config, settings, iterations, seed
        self.processes = processes
        if processes.count > 1:
            share_batch_norm(network)
        self.asked_labels = settings.asked_labels if people_labelled else None
        self.device = next(network.parameters()).device
        self.offset_C = None if log_ratio_C is None else -log_ratio_C
        self.reference = None
        if settings.feature_distance_weight > 0:
            self.reference = copy.deepcopy(network.backbone).requires_grad_(False).eval()
        frozen = settings.frozen_statistics
        self.teacher = MeanTeacher(copy.deepcopy(network), settings.teacher_decay, frozen_statistics=frozen)
        if settings.teacher_warm_start:
            self.teacher.updates.fill_(round(1 / (1 - settings.teacher_decay)))
        self.student = network.requires_grad_(True).train()
        if frozen:
            freeze_statistics(self.student)
        if settings.frozen_stages and isinstance(self.student.backbone, EfficientNetLite0):
            freeze_first_stages(self.student, settings.frozen_stages)
        self.self_labeler = self_labeler
        groups = parameter_groups(self.student, config.learning_rate, config.weight_decay)
        if self_labeler is not None:
            rate = groups[0]["base_lr"]  # the head's
            groups.append({"params": [self_labeler.prototypes_CD], "lr": rate, "base_lr": rate, "weight_decay": 0.0})
        self.optimizer = torch.optim.AdamW(groups)
        self.alignment = None
        if settings.alignment is not None:
            encoder: Any = network.backbone  # every encoder tells its widths
            self.alignment = Alignment(
                settings.alignment, encoder.channels[-1], iterations, seed_of(seed, DISCRIMINATOR), processes
            )
        self.step_settings = SelfTrainingSettings(
            settings.confidence, config.detail_weight, settings.feature_distance_weight
        )

    def state(self) -> dict[str, Any]:
        return {
            "student": self.student.state_dict(),
            "teacher": self.teacher.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "self_labeler": {} if self.self_labeler is None else self.self_labeler.state_dict(),
            "alignment": {} if self.alignment is None else self.alignment.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.student.load_state_dict(state["student"])
        self.teacher.load_state_dict(state["teacher"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.self_labeler is not None:
            self.self_labeler.load_state_dict(state["self_labeler"])
        if self.alignment is not None:
            self.alignment.restore(state["alignment"])

    def step(self, batch: RoundCrops, iteration: int) -> Numbers:
        """Teacher update, source loss, target labels, mixed loss, one optimizer step on the sum of gradients.

        The accuracy is estimated by the teacher's mean confidence on the target crops.
        """
        crops = SelfTrainingBatch(
            normalize(self._tensor(batch.source.images_NHWC)),
            self._tensor(batch.source.labels_NHW),
            normalize(self._tensor(batch.target.images_NHWC)),
        )
        labels_NHW = self.processes.gathered(crops.labels_NHW).cpu()
        images = self.processes.share_of(range(len(labels_NHW)))
        choices = draw_choices(labels_NHW, self.config.detail_hw, self._generator(iteration, CHOICES))
        choices = choices_of(choices, images)
        torch.manual_seed(seed_of(self.seed, iteration, DROPOUT) + self.processes.rank)
        set_rates(self.optimizer, rate_factor(iteration, self.iterations, self.config.warmup_iterations))
        self.teacher.update(self.student)
        self.optimizer.zero_grad(set_to_none=True)
        source_loss, source_view = self._learn_from_source(crops, choices.source_box)
        asked_NHW = self._tensor(batch.target.asked_NHW)
        plain_loss, target_view = self._learn_from_plain_target(crops, asked_NHW, choices.mixed_box)
        generators = [self._generator(iteration, PIXELS, image) for image in images]
        valid_NHW = self._tensor(batch.target.valid_NHW)
        labels_NHW, weights_NHW, confidence = self._target_labels(
            crops, valid_NHW, asked_NHW, choices.mixed_box.size, generators
        )
        mixed_batch = mix(crops, labels_NHW, weights_NHW, choices)
        logits = self.student.forward_train(mixed_batch.images_N3HW, choices.mixed_box)
        mixed: HRDALoss = hrda_loss(
            logits, mixed_batch.labels_NHW, mixed_batch.weights_NHW, detail_weight=self.config.detail_weight
        )
        mixed.total.backward()
        numbers = torch.stack([source_loss, plain_loss, mixed.total.detach(), confidence])
        self.processes.average([numbers, *gradients_of(self.optimizer)])
        self.optimizer.step()
        if self.alignment is not None and source_view is not None and target_view is not None:
            self.alignment.learn(source_view, target_view, iteration)
        if self.self_labeler is not None:
            self.self_labeler.follow()
        of_source, of_plain, of_target, accuracy = numbers.tolist()
        return {
            "loss": of_source + of_plain + of_target,
            "source loss": of_source,
            "target loss": of_target,
            "estimated accuracy": accuracy,
        }

    def _learn_from_source(self, crops: SelfTrainingBatch, box: Box) -> tuple[Tensor, DomainView | None]:
        """Gradients of the labelled loss, the feature distance and, with asked labels, of L_cr; returns the first."""
        logits = self.student.forward_train(crops.source_N3HW, box)
        temperature = 1.0 if self.alignment is None else self.alignment.config.temperature
        source, distance = labelled_losses(
            self.student, logits, self.reference, crops, self.step_settings, self.offset_C, temperature
        )
        loss = source.total
        if distance is not None:
            things = thing_cells(crops.labels_NHW, logits.context_features[-1].shape[-1])
            loss = loss + self.processes.weight_of(things.sum()) * distance
        if self.asked_labels is not None:
            boundary = source_boundary_loss(self.asked_labels, logits.fused_NKHW, crops.labels_NHW, self.processes)
            loss = loss + boundary
        loss.backward()
        view = None if self.alignment is None else DomainView.of(self.alignment.config, logits, _size(crops))
        return source.total.detach(), view

    def _learn_from_plain_target(
        self, crops: SelfTrainingBatch, asked_NHW: Tensor, box: Box
    ) -> tuple[Tensor, DomainView | None]:
        """Gradients of the losses on unmixed target crops: of labels from people, and of the alignment."""
        loss, view = torch.zeros((), device=self.device), None
        if self.asked_labels is None and self.alignment is None:
            return loss, view
        logits = self.student.forward_train(crops.target_N3HW, box)
        if self.asked_labels is not None:
            loss = loss + target_losses(self.asked_labels, logits.fused_NKHW, asked_NHW, self.processes)
        if self.alignment is not None:
            view = DomainView.of(self.alignment.config, logits, _size(crops))
            loss = loss + self.alignment.encoder_loss(view)
        loss.backward()
        return loss.detach(), view

    def _target_labels(
        self,
        crops: SelfTrainingBatch,
        valid_NHW: Tensor,
        asked_NHW: Tensor,
        detail_hw: Size,
        generators: Sequence[torch.Generator],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Labels and weights of the target crops, and the teacher's mean confidence.

        The teacher's word, checked by the prototypes; a person's, where one was asked.
        """
        labeler = self.self_labeler
        maps = self.teacher.fused(crops.target_N3HW, detail_hw, with_embedding=labeler is not None)
        size = _size(crops)
        logits_NCHW = resized(maps.logits_NKHW, size)
        confidence = logits_NCHW.softmax(dim=1).amax(dim=1).mean()
        if labeler is not None:
            logits_NCHW = labeler.logits(maps, size)
            labeler.loss(maps, logits_NCHW, generators, self.processes).backward()
        pseudo = pseudo_labels(logits_NCHW)
        share = confident_share(pseudo.confidence_NHW, self.settings.confidence)
        self.processes.average([share])
        weights_NHW = share.expand_as(pseudo.confidence_NHW) * valid_NHW
        is_asked_NHW = asked_NHW != IGNORE_ID
        labels_NHW = torch.where(is_asked_NHW, asked_NHW.long(), pseudo.labels_NHW)
        return labels_NHW, weights_NHW.masked_fill(is_asked_NHW, self.settings.asked_pixel_weight), confidence

    def _tensor(self, array: Any) -> Tensor:
        return torch.from_numpy(array).to(self.device)

    def _generator(self, *purpose: int) -> torch.Generator:
        return torch.Generator().manual_seed(seed_of(self.seed, *purpose))


def _size(crops: SelfTrainingBatch) -> Size:
    return crops.target_N3HW.shape[-2], crops.target_N3HW.shape[-1]
